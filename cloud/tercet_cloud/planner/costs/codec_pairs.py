"""Which pairs of codecs are worth solving a cut for: all that no other pair beats on every cut."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from tercet_cloud.planner.costs.frame_costs import CodedTensors
from tercet_cloud.planner.measuring.coding_table import MenuCodec

Pair = tuple[str, str]


def worthwhile_pairs(codecs: Sequence[MenuCodec], coded: Sequence[CodedTensors]) -> list[Pair]:
    """Pairs of titles, without those that another pair beats whatever the cut, the topology and the objective.

    A pair is left out for another only if the other
    - codes every tensor that it codes, in no more bytes and no more time, so that no cut costs more under it
      (all objectives and limits grow with bytes and times); a pair of equals only for a pair of equals, because
      frames of equal codecs can be handed on;
    - and loses no accuracy by it: either the other is lossless on both links, or it differs only where both are
      lossless, which gives the same numbers. A lossy pair is never left out for one that merely looks better:
      which of two is more accurate, only a measurement tells.

    Nor is there a pair that makes a picture of what a lossy codec of tensors gave: it need not be pixels any more.

    Args:
        codecs: the menu; `coded`: its entries by tensor, in the menu's order.
    """
    usable = [index for index, item in enumerate(coded) if not item.impossible.all()]
    beaters = {
        one: [
            other
            for other in usable
            if codecs[one].image == codecs[other].image and _never_dearer(coded[other], coded[one])
        ]
        for one in usable
    }
    pairs = [(first, second) for first in usable for second in usable if _gives_pixels(codecs, first, second)]

    def replaces(other: tuple[int, int], one: tuple[int, int]) -> bool:
        if other == one or (one[0] == one[1] and other[0] != other[1]):
            return False
        if other > one and all(o in beaters[p] and p in beaters[o] for o, p in zip(one, other, strict=True)):
            return False  # Equals: the first on the menu stays.
        return all(codecs[index].lossless for index in other) or all(
            o == p or (codecs[o].lossless and codecs[p].lossless) for o, p in zip(other, one, strict=True)
        )

    return [
        (codecs[first].title, codecs[second].title)
        for first, second in pairs
        if not any(replaces(other, (first, second)) for other in product(beaters[first], beaters[second]))
    ]


def _gives_pixels(codecs: Sequence[MenuCodec], first: int, second: int) -> bool:
    return not codecs[second].image or codecs[first].image or codecs[first].lossless


def _never_dearer(other: CodedTensors, one: CodedTensors) -> bool:
    here = ~one.impossible
    return not bool(other.impossible[here].any()) and all(
        bool((ours[here] <= theirs[here]).all())
        for ours, theirs in (
            (other.bytes, one.bytes),
            (other.encode_ms, one.encode_ms),
            (other.decode_ms, one.decode_ms),
        )
    )
