"""How many frames, and how many bytes of them, an edge holds at once. More are refused, never dropped."""

from __future__ import annotations

from tercet.errors import OverloadedError

RETRY_AFTER_S = 0.1


class Intake:
    """Counts admitted frames. Not thread-safe: for one event loop."""

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self.frames = 0
        self.held_bytes = 0

    def admit(self, size_bytes: int) -> None:
        """Take a frame in; OverloadedError if there is no room. Every admitted frame must be released."""
        if self.frames >= self._max_frames or self.held_bytes + size_bytes > self._max_bytes:
            raise OverloadedError(
                f"edge holds {self.frames} frames, {self.held_bytes / 2**20:.0f} MiB: no room for more",
                retry_after_s=RETRY_AFTER_S,
            )
        self.frames += 1
        self.held_bytes += size_bytes

    def release(self, size_bytes: int) -> None:
        self.frames -= 1
        self.held_bytes -= size_bytes
