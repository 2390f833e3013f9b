"""Keeps the books of what a run executed: nothing twice that was written down, and nothing twice without a reason.

Pure: it is given what steps noted and what the run store was seen to hold, and judges it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from chaos.pipelines.trace import Execution


class Written(NamedTuple):
    """A node or item as the run store first showed it to be done: what its row said, and when that was seen."""

    seen_s: float
    row: tuple[object, ...]


@dataclass(frozen=True)
class RunHistory:
    """All that is known of one run.

    Args:
        planned: how often each step runs undisturbed, by node or NODE/ITEM.
        executions: of steps that leave a trace; their keys begin with the run's name.
        written: nodes and items that were seen to be done while the run went on.
        rows: what the store says of them in the end.
        killed: processes that were killed, or died with what was.
    """

    run: str
    planned: Mapping[str, int]
    executions: Sequence[Execution]
    written: Mapping[str, Written]
    rows: Mapping[str, tuple[object, ...]]
    killed: Collection[int] = field(default=())


def repeats(history: RunHistory) -> Mapping[str, int]:
    """How often more than planned each step ran."""
    counts = Counter(_step(history, execution) for execution in history.executions)
    return {step: more for step in counts if (more := counts[step] - history.planned.get(step, 0)) > 0}


def broken_books(history: RunHistory) -> list[str]:
    """What a run broke, in words; empty if nothing."""
    steps: dict[str, list[Execution]] = {}
    for execution in history.executions:
        steps.setdefault(_step(history, execution), []).append(execution)
    said = [f"{step} ran, which is no step of the pipeline" for step in steps if step not in history.planned]
    said += [
        f"{step} is done, but ran {len(steps.get(step, []))} times of {most}"
        for step, most in history.planned.items()
        if len(steps.get(step, [])) < most
    ]
    for step, executions in steps.items():
        written = history.written.get(step)
        if written is not None and executions[-1].began_s > written.seen_s:
            late_s = executions[-1].began_s - written.seen_s
            said.append(f"{step} was run again {late_s:.2f} s after it was seen to be written down as done")
    for step, more in repeats(history).items():
        cut = sum(execution.pid in history.killed for execution in steps[step])
        if step in history.planned and more > cut:
            said.append(f"{step} ran {more} times more than planned, but {cut} of its processes were killed")
    for step, written in history.written.items():
        if history.rows.get(step) != written.row:
            said.append(f"{step} was written down as {written.row}, and later as {history.rows.get(step)}")
    return [f"{history.run}: {line}" for line in said]


def _step(history: RunHistory, execution: Execution) -> str:
    return execution.key.removeprefix(f"{history.run}/")
