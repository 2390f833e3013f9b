"""How large a loss may be at worst, after so many frames: upper confidence bounds of a mean, and what they need.

Losses of counted metrics are 0 or 1: Clopper and Pearson's exact bound, one-sided. Losses between 0 and 1: a bet.
Somebody bets on every frame that the mean loss is at least m, at odds that are fair or worse for him if it is:
his capital is multiplied by 1 - c + c (1 - x) / (1 - m), with a part c of it at stake and a loss of x. If the mean
is m or more, his capital is expected not to grow, whatever the losses' distribution, so it is 20-fold with a
probability of at most 1/20 (Markov). All m at which the losses seen would have made it 20-fold are therefore ruled
out with 95 % confidence. Betting several parts c at once makes the bound fit small and varied losses alike.

Both take frames as independent, and are for one measurement: who measures many plans and keeps the best is a little
luckier than 95 %.

Source: Clopper and Pearson 1934, Biometrika 26(4); Waudby-Smith and Ramdas 2024, JRSS-B 86(1), arXiv:2010.09686;
the mixture of stakes as in Orabona and Jun 2024, arXiv:2110.14099.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log, log1p

import numpy as np
import numpy.typing as npt

from tercet_cloud.measurement.binomial import clopper_pearson

CONFIDENCE = 0.95
_BISECTIONS = 50
# Half of the capital bets all it has, which is best for losses that are all alike; the rest hedges.
_STAKES = np.array([1.0, *np.linspace(0.02, 0.98, 49)])
_SHARES = np.array([0.5, *np.full(49, 0.5 / 49)])


def counted_bound(losses: int, frames: int, confidence: float = CONFIDENCE) -> float:
    """The largest rate that `losses` of `frames` leave possible, with at least probability `confidence`."""
    return clopper_pearson(losses, frames, 2 * confidence - 1)[1]


def mean_bound(losses: Sequence[float] | npt.NDArray[np.float64], confidence: float = CONFIDENCE) -> float:
    """The largest mean that these losses, each 0…1, leave possible; 1 without any.

    Never below their own mean. Raises ValueError for losses outside 0…1.
    """
    values = np.asarray(losses, np.float64)
    if not values.size:
        return 1.0
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError("losses must be between 0 and 1")
    low, high = min(1.0, float(values.mean())), 1.0
    if low == 1:
        return 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _log_capital(values, middle) < log(1 / (1 - confidence)):
            low = middle
        else:
            high = middle
    return high


def frames_to_prove(drop: float, *, counted: bool, confidence: float = CONFIDENCE) -> int:
    """How many frames it takes to show that a drop is at most `drop`, if not one of them loses anything.

    Raises ValueError unless 0 < drop < 1.
    """
    if not 0 < drop < 1:
        raise ValueError(f"a drop of {drop} cannot be shown by any number of frames")
    if counted:
        return ceil(log(1 - confidence) / log1p(-drop) - 1e-9)
    enough = 1
    while mean_bound(np.zeros(enough), confidence) > drop:
        enough *= 2
    few = enough // 2
    while enough - few > 1:
        middle = (few + enough) // 2
        if mean_bound(np.zeros(middle), confidence) > drop:
            few = middle
        else:
            enough = middle
    return enough


def explain_frames(drop: float, frames: int, *, counted: bool) -> str:
    """Why a drop cannot be shown with so few frames, and how many it takes; "" if they are enough."""
    if not 0 < drop < 1:
        return "no number of frames can show that there is no drop at all: use lossless codecs"
    needed = frames_to_prove(drop, counted=counted)
    if frames >= needed:
        return ""
    return (
        f"{frames} frames can never show a drop of at most {drop:g}, even if none loses anything: it takes {needed}"
    )


def _log_capital(losses: npt.NDArray[np.float64], mean: float) -> float:
    """Logarithm of the capital after all losses, of one who started with 1."""
    # Rounded, a mean just below 1 would be 1.
    mean = min(mean, 1 - 1e-12)
    with np.errstate(divide="ignore"):
        gains = 1 - _STAKES[:, np.newaxis] + _STAKES[:, np.newaxis] * (1 - losses) / (1 - mean)
        logs = np.log(gains).sum(axis=1) + np.log(_SHARES)
    top = float(logs.max())
    return top + float(np.log(np.exp(logs - top).sum()))
