"""Frames under way: which answers are awaited, matched by MQTT correlation data."""

from __future__ import annotations

import asyncio
import secrets
import struct

from tercet.errors import TercetError
from tercet.wire.messages import Answer

_CORRELATION = struct.Struct(">8sQ")


class PendingFrames:
    """Sequence number → the future of its answer. Counts answers nobody waits for any more.

    Correlation data is 8 random bytes of this object and the sequence number, so that an answer to a frame of
    an earlier process of the same device is never taken for one of ours.
    """

    def __init__(self) -> None:
        self._waiting: dict[bytes, asyncio.Future[Answer]] = {}
        self._nonce = secrets.token_bytes(8)
        self.unexpected = 0

    def expect(self, sequence: int) -> tuple[bytes, asyncio.Future[Answer]]:
        """Correlation data to send, and the future that its answer resolves."""
        correlation = _CORRELATION.pack(self._nonce, sequence)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[correlation] = future
        return correlation, future

    def forget(self, correlation: bytes) -> None:
        self._waiting.pop(correlation, None)

    def resolve(self, correlation: bytes | None, answer: Answer) -> None:
        """Hand over an answer; late, duplicate and foreign ones are counted."""
        future = self._waiting.pop(correlation, None) if correlation else None
        if future is None or future.done():
            self.unexpected += 1
        else:
            future.set_result(answer)

    def fail_all(self, error: TercetError) -> None:
        """The link is gone: nobody will answer."""
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(error)

    def __len__(self) -> int:
        return len(self._waiting)
