"""What a step prints and logs, kept for `tercet pipeline logs`: the last part of it, within a bound."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

MAX_CHARS = 16_384


class Output(io.TextIOBase):
    """Text that keeps its end."""

    def __init__(self) -> None:
        self._text = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._text = (self._text + text)[-2 * MAX_CHARS :]
        return len(text)

    @property
    def text(self) -> str:
        if len(self._text) <= MAX_CHARS:
            return self._text
        return "…" + self._text[-MAX_CHARS:]


@contextmanager
def captured() -> Iterator[Output]:
    """While entered, what this process prints and logs goes into the output.

    Of what it logs, as much as the level of the root logger lets through: in workers, INFO and above.
    """
    output = Output()
    handler = logging.StreamHandler(output)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            yield output
    finally:
        root.removeHandler(handler)
