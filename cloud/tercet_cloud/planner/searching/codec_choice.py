"""The cheapest codec of a boundary that keeps within a budget of accuracy, by measurement alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tercet.errors import SpecError

# So that 1 - 0.98 is within 0.02.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class CodecPoint:
    """What one codec was measured to do at one boundary.

    `boundary` holds the names of its tensors joined by commas. `bytes_per_frame` is the mean of payloads and
    parameters. `agreement` is 0…1 by the task's metric, against the uncut model in full precision, and
    `agreement_low` the lower end of its confidence interval. `encode_us` and `decode_us` are medians.
    """

    boundary: str
    codec: str
    bytes_per_frame: float
    agreement: float
    agreement_low: float
    encode_us: float
    decode_us: float

    def loss(self, *, upper_bound: bool) -> float:
        """How much agreement is lost, as measured or at worst within the confidence interval."""
        return 1 - (self.agreement_low if upper_bound else self.agreement)


def choose_codec(
    points: Iterable[CodecPoint], boundary: str, loss_budget: float, *, upper_bound: bool = False
) -> CodecPoint:
    """The point at `boundary` with the fewest bytes whose loss of agreement is within the budget.

    Among equal bytes the quickest encoder, then the quickest decoder, then the first by name.

    Args:
        loss_budget: 0…1, in the unit of the points' agreement.
        upper_bound: hold the upper confidence bound of the loss against the budget, not the loss itself.
    Raises:
        SpecError: nothing was measured at `boundary`, or no codec there is good enough; names the smallest loss
            that one reaches.
    """
    points = tuple(points)
    here = [point for point in points if point.boundary == boundary]
    if not here:
        measured = ", ".join(dict.fromkeys(point.boundary for point in points)) or "nothing"
        raise SpecError(f"no codec was measured at boundary {boundary!r} (measured: {measured}): bench it first")
    fitting = [point for point in here if point.loss(upper_bound=upper_bound) <= loss_budget + _ROUNDING]
    if not fitting:
        best = min(here, key=lambda point: (point.loss(upper_bound=upper_bound), point.bytes_per_frame))
        kind = "upper bound of the loss" if upper_bound else "loss"
        raise SpecError(
            f"no codec measured at {boundary!r} keeps the {kind} within {loss_budget:g}; the smallest is "
            f"{best.loss(upper_bound=upper_bound):.4f}, of {best.codec}: allow that much, or cut elsewhere"
        )
    return min(fitting, key=lambda point: (point.bytes_per_frame, point.encode_us, point.decode_us, point.codec))
