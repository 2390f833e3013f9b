"""Structured logs on stderr: one JSON object or one readable line per event, each with tier and node."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Literal

from tercet.errors import SettingsError
from tercet.printable import printable

LogFormat = Literal["text", "json"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Identity(logging.Filter):
    """Adds who is speaking to every record."""

    def __init__(self, tier: str, node: str) -> None:
        super().__init__()
        self._tier, self._node = tier, node

    def filter(self, record: logging.LogRecord) -> bool:
        record.tier, record.node = self._tier, self._node
        return True


class JsonFormatter(logging.Formatter):
    """{"time", "level", "logger", "event", "tier", "node", …extra}."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        # Halves of surrogate pairs, as in paths that are not UTF-8, become JSON's own \\u escapes.
        return json.dumps(entry, default=str, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


class TextFormatter(logging.Formatter):
    """12:00:01 INFO edge/gateway-1 event key=value; one line, tracebacks indented below it."""

    def format(self, record: logging.LogRecord) -> str:
        extra = _extra(record)
        who = f"{extra.pop('tier', '-')}/{extra.pop('node', '-')}"
        fields = "".join(f" {key}={value}" for key, value in extra.items())
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        # Peers have their say in some fields: no line break or escape sequence of theirs gets through.
        line = printable(f"{clock} {record.levelname:<7} {who} {record.getMessage()}{fields}")
        if not record.exc_info:
            return line
        trace = self.formatException(record.exc_info).splitlines()
        return "\n".join([line, *(f"    {printable(part)}" for part in trace)])


def configure_logging(tier: str, node: str, level: str, log_format: LogFormat) -> None:
    """Send every logger's records to stderr. Called once, in main. SettingsError for an unknown level."""
    if level.upper() not in logging.getLevelNamesMapping():
        raise SettingsError(f"log level {level!r} is unknown: use debug, info, warning or error")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    handler.addFilter(_Identity(tier, node))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # These log every packet or request at INFO.
    for noisy in ("aiomqtt", "mqtt", "asyncio", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _timestamp(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03d}Z"
