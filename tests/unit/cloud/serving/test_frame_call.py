"""Calls of several frames: limits, runs, and answers that do not all fit back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tercet.errors import FrameTooLargeError, OverloadedError, WireFormatError
from tercet.limits import MAX_CALL_FRAMES, MAX_FRAME_BYTES
from tercet.wire.messages import Answer
from tercet_cloud.serving.frame_call import NO_ROOM, answer_in_runs, refuse_call, refuse_frames


async def test_answers_keep_their_order_over_runs() -> None:
    runs: list[int] = []

    async def answer(frames: Sequence[bytes]) -> list[bytes]:
        runs.append(len(frames))
        return [b"to " + frame for frame in frames]

    found = await answer_in_runs([b"a", b"b", b"c", b"d", b"e"], 2, answer)
    assert found == [b"to a", b"to b", b"to c", b"to d", b"to e"]
    assert runs == [2, 2, 1]


async def test_what_does_not_fit_one_message_is_left_to_be_asked_alone_and_not_computed_in_vain() -> None:
    runs: list[int] = []
    half = bytes(MAX_FRAME_BYTES // 2 + 1)

    async def answer(frames: Sequence[bytes]) -> list[bytes]:
        runs.append(len(frames))
        return [half] * len(frames)

    found = await answer_in_runs([b"x"] * 6, 2, answer)
    assert [len(sealed) for sealed in found] == [len(half), 0, 0, 0, 0, 0]
    assert found[1] == NO_ROOM
    assert runs == [2]


@pytest.mark.parametrize(
    ("frames", "kind"),
    [
        ([], WireFormatError),
        ([b"x"] * (MAX_CALL_FRAMES + 1), WireFormatError),
        ([bytes(MAX_FRAME_BYTES), b"x"], FrameTooLargeError),
    ],
)
def test_a_call_over_the_limits_gets_one_answer_that_names_them(frames: list[bytes], kind: type[Exception]) -> None:
    sealed = refuse_call(frames)
    assert sealed is not None
    assert isinstance(Answer.open(sealed).refusal, kind)


def test_calls_at_the_limits_pass() -> None:
    assert refuse_call([b"x"] * MAX_CALL_FRAMES) is None
    assert refuse_call([bytes(MAX_FRAME_BYTES - 1), b"x"]) is None


def test_frames_without_room_are_told_when_to_come_back() -> None:
    refusals = [Answer.open(sealed).refusal for sealed in refuse_frames(2)]
    assert all(isinstance(refusal, OverloadedError) and refusal.retry_after_s for refusal in refusals)
    assert refuse_frames(0) == []
