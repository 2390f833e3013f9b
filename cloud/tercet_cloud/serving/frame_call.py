"""One gRPC call with several frames: its limits, its runs, and what of the answers fits back into one message.

Plain functions, so that Serve's replica and a bare gRPC server answer alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from tercet.errors import FrameTooLargeError, OverloadedError, WireFormatError
from tercet.limits import MAX_CALL_FRAMES, MAX_FRAME_BYTES, MIB
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer

RETRY_AFTER_S = 0.1
# In place of an answer: ask for that frame alone.
NO_ROOM = b""


def refuse_call(frames: Sequence[bytes]) -> bytes | None:
    """The only answer to a call over the limits; None if it is within."""
    if not 1 <= len(frames) <= MAX_CALL_FRAMES:
        return _refusal(WireFormatError(f"a call has 1 to {MAX_CALL_FRAMES} frames, this one {len(frames)}"))
    size_bytes = sum(map(len, frames))
    if len(frames) > 1 and size_bytes > MAX_FRAME_BYTES:
        return _refusal(
            FrameTooLargeError(
                f"a call of {size_bytes / MIB:.1f} MiB is over the {MAX_FRAME_BYTES / MIB:.1f} MiB limit"
            )
        )
    return None


def refuse_frames(count: int) -> list[bytes]:
    """Answers to frames that find no room in the queue."""
    refusal = _refusal(OverloadedError("the cloud's queue is full", retry_after_s=RETRY_AFTER_S)) if count else b""
    return [refusal] * count


async def answer_in_runs(
    frames: Sequence[bytes], run_frames: int, answer: Callable[[Sequence[bytes]], Awaitable[list[bytes]]]
) -> list[bytes]:
    """One answer per frame, in order, or NO_ROOM.

    Args:
        run_frames: how many go into one run; other callers' frames come in between.
        answer: answers the frames of one run. Not called any more once the message is full.
    """
    answers: list[bytes] = []
    left_bytes = MAX_FRAME_BYTES
    for start in range(0, len(frames), run_frames):
        if left_bytes <= 0:
            return answers + [NO_ROOM] * (len(frames) - start)
        for sealed in await answer(frames[start : start + run_frames]):
            left_bytes -= len(sealed)
            # The first always fits: an answer is no larger than a frame.
            answers.append(sealed if left_bytes >= 0 else NO_ROOM)
    return answers


def _refusal(error: Exception) -> bytes:
    return Answer.of_error(pb.FrameHeader(), error).seal()
