"""A disk with a cache, as far as a power cut shows it: what was synced stays, of the rest anything may be left.

Names (creations, unlinks, renames) reach the disk in order, and for sure when their folder is synced. Bytes reach
it in any order, and for sure when their file is synced; before that each write may be there, be missing, be torn at
sectors, or have left garbage in sectors it touched, even where these hold older, synced bytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from crash.write_log import Event, Op


class Fate(StrEnum):
    """What a cut does to what was not synced."""

    LOST = "lost"
    KEPT = "kept"
    TORN = "torn"


# Of disks and file systems there are; bytes that are garbled together.
SECTORS = (512, 4096)


@dataclass(eq=False)
class _File:
    synced: bytearray = field(default_factory=bytearray)
    pending: list[Event] = field(default_factory=list)

    def sync(self) -> None:
        for event in self.pending:
            _apply(self.synced, event)
        self.pending.clear()


Names = dict[str, _File]


class Disk:
    """Apply events with `do`; ask with `after_cut` what a cut at this moment would leave."""

    def __init__(self) -> None:
        self._names: Names = {}
        self._synced_names: Names = {}
        self._pending_names: list[Callable[[Names], object]] = []

    def do(self, event: Event) -> None:
        if event.op is Op.SYNC and event.name == ".":
            self._synced_names = dict(self._names)
            self._pending_names.clear()
        elif event.op is Op.CREATE:
            file = _File()
            self._rename(lambda names: names.update({event.name: file}))
        elif event.op is Op.UNLINK:
            self._rename(lambda names: names.pop(event.name, None))
        elif event.op is Op.RENAME:
            self._rename(lambda names: _move(names, event.name, event.data.decode()))
        elif event.op is Op.SYNC:
            self._names[event.name].sync()
        else:
            self._names[event.name].pending.append(event)

    def after_cut(self, fate: Fate, source: random.Random) -> dict[str, bytes]:
        """The files by name."""
        names = dict(self._synced_names)
        kept = {Fate.LOST: 0, Fate.KEPT: len(self._pending_names)}.get(fate)
        if kept is None:
            kept = source.randint(0, len(self._pending_names))
        for change in self._pending_names[:kept]:
            change(names)
        sector = source.choice(SECTORS)
        return {name: _left(file, fate, source, sector) for name, file in names.items()}

    def _rename(self, change: Callable[[Names], object]) -> None:
        change(self._names)
        self._pending_names.append(change)


def _move(names: Names, old: str, new: str) -> None:
    if old in names:
        names[new] = names.pop(old)


def _left(file: _File, fate: Fate, source: random.Random, sector: int) -> bytes:
    content = bytearray(file.synced)
    if fate is Fate.KEPT:
        for event in file.pending:
            _apply(content, event)
    elif fate is Fate.TORN:
        for event in file.pending:
            _tear(content, event, source, sector)
    return bytes(content)


def _apply(content: bytearray, event: Event) -> None:
    if event.op is Op.TRUNCATE:
        del content[event.number :]
        content.extend(bytes(event.number - len(content)))
        return
    content.extend(bytes(max(0, event.number - len(content))))
    content[event.number : event.number + len(event.data)] = event.data


def _tear(content: bytearray, event: Event, source: random.Random, sector: int) -> None:
    """Leave of one event what a cut may leave."""
    fate = source.choice(("missing", "there", "torn", "garbled"))
    if fate == "missing":
        return
    if fate == "there" or event.op is Op.TRUNCATE:
        _apply(content, event)
        return
    end = event.number + len(event.data)
    for start in range(event.number - event.number % sector, end, sector):
        left = source.random()
        if left < 0.4:
            continue
        first, last = max(start, event.number), min(start + sector, end)
        piece = event.data[first - event.number : last - event.number]
        _apply(content, Event(Op.WRITE, event.name, first, piece))
        if fate == "garbled" and left > 0.7:
            stop = min(start + sector, len(content))
            content[start:stop] = source.randbytes(stop - start)
