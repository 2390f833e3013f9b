"""The limits every tier enforces on what a peer sends. They are part of the wire contract."""

from __future__ import annotations

from tercet.errors import FrameTooLargeError

MIB = 1 << 20

# What the tensors of one frame may hold, coded or decoded.
MAX_TENSOR_BYTES = 64 * MIB
MAX_HEADER_BYTES = 1 * MIB
# What a transport must let through: tensors, header and seal.
MAX_FRAME_BYTES = MAX_TENSOR_BYTES + MAX_HEADER_BYTES + 4096
# Of one edge→cloud call, whose message may be as large as one frame's.
MAX_CALL_FRAMES = 256
MAX_TENSORS = 256
MAX_RANK = 8
# Of any single text in a header, so that refusals that quote it stay short.
MAX_NAME_CHARS = 1024


def check_tensor_bytes(size_bytes: int, what: str) -> None:
    """Raise FrameTooLargeError if `size_bytes` is over the frame limit.

    Args:
        size_bytes: claimed or real size.
        what: subject of the sentence, e.g. "the tensors of frame 7".
    """
    if size_bytes > MAX_TENSOR_BYTES:
        raise FrameTooLargeError(
            f"{what} hold {size_bytes / MIB:.1f} MiB; one frame may hold {MAX_TENSOR_BYTES // MIB} MiB "
            "(tercet.limits.MAX_TENSOR_BYTES): cut at a smaller boundary or use a smaller codec"
        )
