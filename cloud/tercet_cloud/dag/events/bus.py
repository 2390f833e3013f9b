"""Changes of keys, told to whoever listens, within one process.

Every listener has a queue of its own, bounded: of a key that changes again before it was looked at only the last
change stays, and beyond the bound the oldest go. Both are counted. Nobody who publishes ever waits.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tercet_cloud.dag.events.content import digest_of

QUEUE_KEYS = 1000
# Keys whose content is remembered to tell whether it changed.
REMEMBERED_KEYS = 100_000


@dataclass(frozen=True)
class Event:
    """A key has other content now. `at_s` by the monotonic clock."""

    key: str
    value: Any
    digest: str
    at_s: float


class Listener:
    """What waits for one listener. `superseded` and `dropped` count what it will not see."""

    def __init__(self, pattern: str, most: int) -> None:
        self.pattern, self._most = pattern, most
        self._waiting: OrderedDict[str, Event] = OrderedDict()
        self._arrived = asyncio.Event()
        self.superseded = self.dropped = 0

    def offer(self, event: Event) -> None:
        if not fnmatchcase(event.key, self.pattern):
            return
        if self._waiting.pop(event.key, None) is not None:
            self.superseded += 1
        self._waiting[event.key] = event
        if len(self._waiting) > self._most:
            self._waiting.popitem(last=False)
            self.dropped += 1
        self._arrived.set()

    async def next(self) -> Event:
        """The change that waits longest. Nothing is lost if cancelled."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popitem(last=False)[1]

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            yield await self.next()


class EventBus:
    """For one event loop."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._digests: OrderedDict[str, str] = OrderedDict()
        self.unchanged = 0

    def listen(self, pattern: str = "*", most: int = QUEUE_KEYS) -> Listener:
        """A new listener for keys that match `*`, `?` and `[…]`; leave it by `leave`."""
        listener = Listener(pattern, most)
        self._listeners.append(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        self._listeners.remove(listener)

    def publish(self, key: str, value: Any) -> bool:
        """Tell that `key` holds `value` now; False, and nobody hears, if it held an equal one before."""
        digest = digest_of(value)
        if self._digests.get(key) == digest:
            self.unchanged += 1
            return False
        self._digests[key] = digest
        self._digests.move_to_end(key)
        if len(self._digests) > REMEMBERED_KEYS:
            self._digests.popitem(last=False)
        event = Event(key, value, digest, asyncio.get_running_loop().time())
        for listener in self._listeners:
            listener.offer(event)
        return True
