"""Runs one try of a node in this process: arguments, condition, function, result. Knows no Ray.

Nothing a function does is an error here: whatever becomes of it is in the report. What may end the process instead
(a crash, a kill) is the shell's to notice.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import pickle
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from tercet.errors import ContractError, InputError, TercetError, UnavailableError
from tercet.printable import printable
from tercet.steps.conditions import parse_condition
from tercet.steps.functions import CONTEXT, load_function, signature_of
from tercet.steps.references import Reference, value_at
from tercet.steps.value_types import parse_type, type_words, value_misfit
from tercet_cloud.dag.call import ABSENT, ITEM, ONE, Call, Circumstances, Report, idempotency_key, source_of
from tercet_cloud.dag.events.result_cache import ResultCache, call_key
from tercet_cloud.dag.graph import CLOUD
from tercet_cloud.dag.memory_limit import limited_memory
from tercet_cloud.dag.outcomes import LOOK, WHOLE, Trouble
from tercet_cloud.dag.step_output import Output, captured

log = logging.getLogger(__name__)

_REASON_CHARS = 300
_MISSING = object()
# Runs a model node, or any node on another tier: the call, its arguments and circumstances.
Elsewhere = Callable[[Call, Mapping[str, Any], Circumstances], Any]


class WrongTypeError(ContractError):
    """A step gave something else than it said."""


@dataclass(frozen=True)
class Item:
    """The item that is to be run, of a list that stays where it is."""

    value: Any


@dataclass(frozen=True)
class Given:
    """The values of a call's sources: one each, a list of items, or missing."""

    values: tuple[Any, ...]

    @classmethod
    def unpack(cls, counts: Sequence[int], values: Sequence[Any]) -> Given:
        unpacked, at = [], 0
        for count in counts:
            if count == ABSENT:
                unpacked.append(_MISSING)
            elif count in (ONE, ITEM):
                unpacked.append(values[at] if count == ONE else Item(values[at]))
                at += 1
            else:
                unpacked.append(list(values[at : at + count]))
                at += count
        return cls(tuple(unpacked))

    def at(self, source: int, path: Sequence[str | int]) -> Any:
        value = self.values[source]
        return _MISSING if value is _MISSING else value_at(value, path)


def run_step(
    call: Call,
    circumstances: Circumstances,
    given: Given,
    elsewhere: Elsewhere,
    cache: ResultCache | None = None,
) -> tuple[Report, Any]:
    """Try a node, or an item of it, or look how long its list is."""
    began_s = time.perf_counter()
    # What other tiers print stays there; and their calls share this process, whose output is one.
    with captured() if call.place == CLOUD else nullcontext(Output()) as output:
        try:
            state, value, reused = _run(call, circumstances, given, elsewhere, cache)
            length = value if circumstances.item == LOOK else _length(value)
            report = Report(state, time.perf_counter() - began_s, length=length, reused=reused)
        except BaseException as error:
            value = None
            report = report_of(error, time.perf_counter() - began_s)
            if not isinstance(error, TercetError | MemoryError):
                _print_trace(error)
    return report._replace(log=output.text) if output.text else report, value


def report_of(error: BaseException, took_s: float) -> Report:
    """What is said of a try that ended so."""
    trouble, reason, may_retry = _diagnosis(error)
    return Report("failed", took_s, trouble, reason, may_retry)


def _run(
    call: Call, circumstances: Circumstances, given: Given, elsewhere: Elsewhere, cache: ResultCache | None
) -> tuple[str, Any, bool]:
    """The state, the value (of a LOOK, the length), and whether it was there already."""
    item = circumstances.item
    if item in (WHOLE, LOOK) and call.when is not None and not _holds(call, given):
        return "skipped", None, False
    arguments = {
        argument.name: value
        for argument in call.arguments
        if (value := given.at(argument.source, argument.path)) is not _MISSING
    }
    if item == LOOK:
        return "done", _common_length(call, arguments), False
    if item >= 0:
        for name in call.mapped:
            value = arguments[name]
            arguments[name] = value.value if isinstance(value, Item) else value[item]
    key = call_key(call, arguments) if call.reuses and cache is not None else ""
    if cache is not None and key and (found := _reused(cache, key)) is not None:
        return "done", found[0], True
    with limited_memory(call.max_memory_mb if call.place == CLOUD else None):
        value = _value(call, arguments, circumstances, elsewhere)
    if key and cache is not None:
        cache.put(key, to_bytes(value))
    return "done", value, False


def _reused(cache: ResultCache, key: str) -> tuple[Any] | None:
    """The result that is kept under a key; None if there is none that this process can read."""
    data = cache.get(key)
    if data is None:
        return None
    try:
        return (from_bytes(data),)
    except Exception as error:  # Pickles raise anything, such as for a class that has gone.
        log.warning("a kept result cannot be read", extra={"reason": printable(str(error), _REASON_CHARS)})
        cache.discard(key)
        return None


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, list | tuple) else None


def _holds(call: Call, given: Given) -> bool:
    assert call.when is not None

    def lookup(reference: Reference) -> object:
        value = given.at(call.when_sources[source_of(reference)], reference.inside)
        return None if value is _MISSING else value

    return parse_condition(call.when).holds(lookup)


def _common_length(call: Call, arguments: Mapping[str, Any]) -> int:
    lengths = {}
    for name in call.mapped:
        value = arguments.get(name, _MISSING)
        if not isinstance(value, list | tuple):
            what = "was skipped" if value is _MISSING else f"is {type_words(value)}"
            raise InputError(f"{name} {what}, not a list to map over")
        lengths[name] = len(value)
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InputError(f"lists that are mapped together are of equal length; {shown}")
    return next(iter(lengths.values()))


def _value(call: Call, arguments: Mapping[str, Any], circumstances: Circumstances, elsewhere: Elsewhere) -> Any:
    if call.kind == "model" or call.place != CLOUD:
        value = elsewhere(call, arguments, circumstances)
        kind = None
    else:
        signature = signature_of(call.target)
        given = {**call.options, **arguments}
        for name in signature.context - set(given):
            given[name] = _context(name, call, circumstances)
        value = load_function(call.target)(**given)
        if inspect.iscoroutine(value):
            value = asyncio.run(value)
        kind = signature.gives
    for wanted in (kind, parse_type(call.returns) if call.returns else None):
        if wanted is not None and (reason := value_misfit(value, wanted)):
            raise WrongTypeError(f"it gave {reason}")
    return value


def _context(name: str, call: Call, circumstances: Circumstances) -> object:
    assert name in CONTEXT
    match name:
        case "idempotency_key":
            return idempotency_key(circumstances.run, call.node, circumstances.item)
        case "attempt":
            return circumstances.attempt
        case "store":
            return str(call.means.store)
        case _:
            return circumstances.time_left_s


def _diagnosis(error: BaseException) -> tuple[str, str, bool]:
    reason = printable(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, _REASON_CHARS)
    if isinstance(error, MemoryError):
        return Trouble.MEMORY, "it needs more memory than max_memory_mb allows, or than there is", False
    if isinstance(error, WrongTypeError):
        return Trouble.WRONG_TYPE, printable(str(error), _REASON_CHARS), False
    if isinstance(error, ContractError):
        return Trouble.ERROR, reason, False
    if isinstance(error, UnavailableError):
        return Trouble.TIER_OFFLINE, reason, True
    return Trouble.ERROR, reason, True


def _print_trace(error: BaseException) -> None:
    """The trace from the function on: how it came to be called is of no interest."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    traceback.print_exception(error.with_traceback(trace), file=sys.stderr)


def to_bytes(value: Any) -> bytes:
    """A result as it is kept; ContractError for what cannot be."""
    try:
        return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise WrongTypeError(f"its result cannot be kept: {printable(str(error), _REASON_CHARS)}") from error


def from_bytes(data: bytes) -> Any:
    return pickle.loads(data)
