"""Block costs of the tiny model, made up: each block takes 2 ms on every tier, and coding next to nothing."""

from __future__ import annotations

from tercet.block_costs import BlockCosts, BoundaryCoding, PairAgreement, TierTimes
from tercet.identifiers import ModelRef

SIZES = (16, 32, 8)


def coding(spec: str, size_bytes: float, agreement: float | None, *, lossless: bool = False) -> BoundaryCoding:
    return BoundaryCoding(
        spec=spec, bytes=size_bytes, encode_ms=0.01, decode_ms=0.01, agreement=agreement, lossless=lossless
    )


def tiny_costs(model: ModelRef) -> BlockCosts:
    """fp16 was measured everywhere, int8 behind the first block alone; int4 nowhere."""
    each = TierTimes(device=2, edge=2, cloud=2)
    codings = [
        (
            coding("raw", 200 + 4 * size, 1, lossless=True),
            coding("fp16", 200 + 2 * size, 0.99),
            coding("int8", 210 + size, 0.97 if place == 1 else None),
            coding("int4", 210 + size / 2, None),
        )
        for place, size in enumerate(SIZES)
    ]
    return BlockCosts(
        model=model,
        blocks=(each, each, each),
        session_ms=TierTimes(device=0.1, edge=0.1, cloud=0.1),
        coding_pace=TierTimes(device=1, edge=1, cloud=1),
        boundaries=(*codings, ()),
        pairs=(PairAgreement(first=1, second=2, codecs=("fp16", "fp16"), agreement=0.98),),
        answer_bytes=150,
    )
