"""Where the values of one run are: references that the engine passes on, and never looks at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tercet_cloud.dag.call import ABSENT, ITEM, LAZY, ONE, Call
from tercet_cloud.dag.outcomes import WHOLE

# A reference, or how to get one for a value that is only in the store.
Handle = Any
Load = Callable[[str, int], Handle]


@dataclass(frozen=True, slots=True)
class Stored:
    """A value of an earlier scheduler, by its source and item: fetched when somebody wants it."""

    source: str
    item: int


@dataclass(slots=True)
class Gathered:
    """The items of a node that maps, by number; failed ones are missing."""

    items: dict[int, Handle] = field(default_factory=dict)

    def in_order(self) -> list[Handle]:
        return [self.items[number] for number in sorted(self.items)]


@dataclass(slots=True)
class RunValues:
    """Of one run.

    Attributes:
        load: fetches what is only stored.
        held: values by source, see `Call.sources`.
        lengths: of lists, where known.
    """

    load: Load
    held: dict[str, Handle | Gathered | Stored] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    _orders: dict[str, list[Handle]] = field(default_factory=dict)

    def put(self, source: str, item: int, handle: Handle, length: int | None) -> None:
        if item == WHOLE:
            self.held[source] = handle
            if length is not None:
                self.lengths[source] = length
            return
        gathered = self.held.setdefault(source, Gathered())
        assert isinstance(gathered, Gathered)
        gathered.items[item] = handle

    def gathered(self, source: str) -> None:
        """A node that maps is done: its items are its result, in order."""
        gathered = self.held.setdefault(source, Gathered())
        assert isinstance(gathered, Gathered)
        self.lengths[source] = len(gathered.items)
        self._orders[source] = gathered.in_order()

    def release(self, source: str) -> None:
        self.held.pop(source, None)
        self._orders.pop(source, None)

    def known_length(self, call: Call) -> int | None:
        """How many items a node maps over, if that can be told without looking into values."""
        if call.when is not None:
            return None
        lengths = set()
        for argument in call.arguments:
            if argument.name in call.mapped:
                length = None if argument.path else self.lengths.get(call.sources[argument.source])
                if length is None:
                    return None
                lengths.add(length)
        return lengths.pop() if len(lengths) == 1 else None

    def of_task(self, call: Call, item: int) -> tuple[tuple[int, ...], tuple[Handle, ...]]:
        """What comes of every source, and the references that go along."""
        counts: list[int] = []
        handles: list[Handle] = []
        for number, source in enumerate(call.sources):
            held = self.held.get(source)
            if held is None:
                counts.append(ABSENT)
            elif isinstance(held, Gathered):
                order = self._orders[source]
                if item >= 0 and number in call.item_sources:
                    counts.append(ITEM)
                    handles.append(self._fetched(order, item))
                else:
                    counts.append(len(order))
                    handles.extend(self._fetched(order, index) for index in range(len(order)))
            else:
                if isinstance(held, Stored):
                    held = self.held[source] = self.load(held.source, held.item)
                # Every item wants the same list: workers hold on to it.
                counts.append(ONE if item < 0 else LAZY)
                handles.append(held if item < 0 else [held])
        return tuple(counts), tuple(handles)

    def result(self, source: str) -> Handle | list[Handle] | None:
        """A reference, a list of them for a node that maps, or None if there is nothing."""
        held = self.held.get(source)
        if isinstance(held, Gathered):
            order = self._orders.get(source)
            return None if order is None else [self._fetched(order, index) for index in range(len(order))]
        if isinstance(held, Stored):
            held = self.held[source] = self.load(held.source, held.item)
        return held

    def _fetched(self, order: list[Handle], index: int) -> Handle:
        handle = order[index]
        if isinstance(handle, Stored):
            handle = order[index] = self.load(handle.source, handle.item)
        return handle
