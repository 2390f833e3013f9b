"""Keeps the books of durable frames: what was promised, what came of it, and which promise was broken.

Pure: it is given a history and judges it. Where the history comes from is `evidence`'s business. The books are kept
by the content of results as well as by their names, so that neither a result under a wrong name nor one frame under
two names goes unnoticed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class FrameKey(NamedTuple):
    """What names a durable frame for ever."""

    node: str
    sequence: int


@dataclass(frozen=True)
class Acknowledged:
    """A frame that the application was told is safe. `source` tells apart what an application recorded."""

    key: FrameKey
    source: str


@dataclass(frozen=True)
class Stored:
    """A result in the store. Listed in the order in which results were stored.

    Args:
        source: the frame whose correct result this is, by content; None if it is no frame's.
        late: the store says that a younger one of the same device was there before.
    """

    key: FrameKey
    source: str | None
    late: bool = False


@dataclass(frozen=True)
class History:
    """All that is known of the durable frames of one run.

    Args:
        offered: frames that the application wanted recorded, refused ones included.
        refused: those that it was told are not.
        expired: frames that holders gave up, each by name as often as their logs say so.
        expired_count: how many that were, by what holders counted.
        saved_most: so many of those may be stored all the same: given up while their receipt was under way.
        unheard_most: so many frames may be safe of which nobody was told: those under way when a device was killed.
        late_allowed: devices changed edges, so that frames may be stored after younger ones, if the store says so.
    """

    offered: int
    acknowledged: Sequence[Acknowledged]
    stored: Sequence[Stored]
    dead: Collection[FrameKey] = ()
    expired: Sequence[FrameKey] = ()
    expired_count: int = 0
    saved_most: int = 0
    refused: int = 0
    unheard_most: int = 0
    late_allowed: bool = False


@dataclass(frozen=True)
class Books:
    """What a history comes to. Every list but `dead` and `unheard` is a broken promise if it is not empty.

    `lost`: acknowledged, and neither stored nor given up with notice. `duplicated`: stored twice, under one name or
    two. `disordered`: stored after a younger frame of the same device, though that was not to happen, or unnoticed
    by the store. `late`: so many were, with notice. `wrong`: another result than the frame's. `invented`: nobody
    recorded it.
    """

    offered: int
    acknowledged: int
    refused: int
    expired: int
    stored: int
    late: int
    dead: tuple[FrameKey, ...]
    unheard: tuple[FrameKey, ...]
    lost: tuple[FrameKey, ...]
    duplicated: tuple[FrameKey, ...]
    disordered: tuple[FrameKey, ...]
    wrong: tuple[FrameKey, ...]
    invented: tuple[FrameKey, ...]
    problems: tuple[str, ...] = field(default=())


def settle(history: History) -> Books:
    """Judge a history."""
    promised = {entry.key: entry.source for entry in history.acknowledged}
    stored_keys = Counter(result.key for result in history.stored)
    dead = frozenset(history.dead)
    expired = frozenset(history.expired)
    missing = sorted(key for key in promised if key not in stored_keys and key not in dead)
    strangers = sorted(key for key in {*stored_keys, *dead} if key not in promised)
    problems = _contradictions(history, dead, missing)
    return Books(
        offered=history.offered,
        acknowledged=len(promised),
        refused=history.refused,
        expired=history.expired_count,
        stored=len(stored_keys),
        late=sum(result.late for result in history.stored),
        dead=tuple(sorted(dead)),
        unheard=tuple(strangers[: history.unheard_most]),
        lost=tuple(key for key in missing if key not in expired),
        duplicated=_duplicated(history, promised, stored_keys),
        disordered=_disordered(history),
        wrong=_wrong(history.stored, promised),
        invented=tuple(strangers[history.unheard_most :]),
        problems=problems,
    )


def _duplicated(
    history: History, promised: Mapping[FrameKey, str], stored_keys: Counter[FrameKey]
) -> tuple[FrameKey, ...]:
    """Stored more than once under one name; or one recording that is in the store under two names."""
    twice = {key for key, count in stored_keys.items() if count > 1}
    recordings = Counter(promised.values())
    # What nobody was told of is a recording too: of its source there may be so many more.
    recordings += Counter(
        result.source
        for result in {result.key: result for result in history.stored}.values()
        if history.unheard_most and result.key not in promised and result.source is not None
    )
    seen: Counter[str] = Counter()
    for result in {result.key: result for result in history.stored}.values():
        if result.source is None:
            continue
        seen[result.source] += 1
        if seen[result.source] > recordings[result.source]:
            twice.add(result.key)
    return tuple(sorted(twice))


def _disordered(history: History) -> tuple[FrameKey, ...]:
    youngest: dict[str, int] = {}
    found = []
    for result in history.stored:
        node, sequence = result.key
        late = sequence < youngest.get(node, 0)
        if (late and not history.late_allowed) or late != result.late:
            found.append(result.key)
        youngest[node] = max(youngest.get(node, 0), sequence)
    return tuple(found)


def _wrong(stored: Sequence[Stored], promised: Mapping[FrameKey, str]) -> tuple[FrameKey, ...]:
    return tuple(
        sorted(
            {
                result.key
                for result in stored
                if result.source is None or promised.get(result.key, result.source) != result.source
            }
        )
    )


def _contradictions(history: History, dead: frozenset[FrameKey], missing: Sequence[FrameKey]) -> tuple[str, ...]:
    """What cannot be true of one history."""
    said = []
    if len({entry.key for entry in history.acknowledged}) != len(history.acknowledged):
        said.append("one name was acknowledged for two frames")
    both = dead & {result.key for result in history.stored}
    if both:
        said.append(f"{len(both)} frames are both stored and dead-lettered")
    if history.expired_count != len(history.expired):
        said.append(f"{history.expired_count} frames were counted as expired, but {len(history.expired)} named")
    if history.expired_count > len(missing) + history.saved_most:
        said.append(f"{history.expired_count} frames were counted as expired, but only {len(missing)} are missing")
    told = len(history.acknowledged) + history.refused
    if told > history.offered or (told < history.offered - history.unheard_most):
        said.append(
            f"of {history.offered} frames offered, {len(history.acknowledged)} were acknowledged and "
            f"{history.refused} refused"
        )
    return tuple(said)


def broken_promises(books: Books) -> list[str]:
    """What a history broke, in words; empty if nothing."""
    named = (
        ("lost", books.lost),
        ("duplicated", books.duplicated),
        ("out of order", books.disordered),
        ("wrong", books.wrong),
        ("stored though nobody recorded them", books.invented),
    )
    return [f"{len(keys)} {what}: {_some(keys)}" for what, keys in named if keys] + list(books.problems)


def _some(keys: Sequence[FrameKey], most: int = 3) -> str:
    named = ", ".join(f"{key.node}/{key.sequence}" for key in keys[:most])
    return named + (f" and {len(keys) - most} more" if len(keys) > most else "")
