"""Every kind of breach in what a run executed is noticed, and what has a reason is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaos.pipelines.execution_books import RunHistory, Written, broken_books, repeats
from chaos.pipelines.trace import Execution

FIRST, AGAIN = Execution("r/a", 1, 10.0, 11.0), Execution("r/a", 2, 20.0, 21.0)
ROW = (1, 10.0, 11.0)
SOUND = RunHistory("r", {"a": 1, "b/0": 1}, [FIRST, Execution("r/b/0", 1, 12.0, 13.0)], {}, {})


def with_executions(*more: Execution) -> RunHistory:
    return replace(SOUND, executions=[*SOUND.executions, *more])


def test_a_sound_run_breaks_nothing() -> None:
    assert broken_books(SOUND) == []
    assert repeats(SOUND) == {}


def test_a_step_that_was_cut_may_run_again() -> None:
    history = replace(with_executions(AGAIN), killed={1})
    assert broken_books(history) == []
    assert repeats(history) == {"a": 1}


def test_a_step_that_was_not_cut_may_not_run_again() -> None:
    assert broken_books(with_executions(AGAIN)) == [
        "r: a ran 1 times more than planned, but 0 of its processes were killed"
    ]


def test_what_was_seen_to_be_written_down_may_not_run_again_whoever_was_killed() -> None:
    history = replace(with_executions(AGAIN), killed={1}, written={"a": Written(15.0, ROW)}, rows={"a": ROW})
    assert broken_books(history) == ["r: a was run again 5.00 s after it was seen to be written down as done"]


def test_what_was_written_down_may_not_change() -> None:
    history = replace(SOUND, written={"a": Written(15.0, ROW)}, rows={"a": (2, 10.0, 11.0)})
    assert broken_books(history) == ["r: a was written down as (1, 10.0, 11.0), and later as (2, 10.0, 11.0)"]


@pytest.mark.parametrize(
    ("history", "said"),
    [
        (replace(SOUND, executions=SOUND.executions[:1]), "r: b/0 is done, but ran 0 times of 1"),
        (with_executions(Execution("r/c", 1, 14.0)), "r: c ran, which is no step of the pipeline"),
    ],
)
def test_steps_that_are_missing_or_unknown_are_named(history: RunHistory, said: str) -> None:
    assert said in broken_books(history)
