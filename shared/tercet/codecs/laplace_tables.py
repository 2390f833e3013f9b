"""Probabilities of quantised, Laplace-distributed coefficients as whole numbers, the same on every machine.

Table j is for coefficients of mean magnitude 2**(j/4) steps. Symbols 0 … 2*top are the steps -top … top; what is
larger is coded as top, and again as an outlier (`outliers.py`). Frequencies are of 2**24 and at least 1: no symbol
takes more than 24 bits.
Only +, -, *, /, sqrt and floor of IEEE doubles make them, which every machine rounds alike.
"""

from __future__ import annotations

from functools import cache
from math import floor, sqrt

import numpy as np
import numpy.typing as npt

PRECISION_BITS = 24
LOWEST, HIGHEST = -12, 32
# A small share of a wider distribution, for coefficients that calibration photos did not show.
_WIDE_SHARE = 1 / 32
_WIDER = 8
# exp(-1/a) of a = 2**(j/4) for j = -12 … -9; a doubles where this goes to its square root.
_DECAYS = (0.00033546262790251185, 0.001197916690693289, 0.0034934892766462036, 0.00859281869511367)

Frequencies = npt.NDArray[np.int64]


def top_of(table: int) -> int:
    """The largest step that a table can say: 64 mean magnitudes and a few more."""
    return floor(64 * _mean_magnitude(table)) + 8


@cache
def frequencies(table: int) -> Frequencies:
    """(2 * top + 1,) int64, each at least 1, their sum 2**24; read-only. `table` is LOWEST … HIGHEST."""
    top = top_of(table)
    shares = _laplace(_decay(table), top)
    wide = _laplace(_decay(min(table + _WIDER, HIGHEST + _WIDER)), top)
    free = (1 << PRECISION_BITS) - (2 * top + 1)
    half = np.array(
        [
            1 + floor(((1 - _WIDE_SHARE) * share + _WIDE_SHARE * wider) * free)
            for share, wider in zip(shares, wide, strict=True)
        ],
        np.int64,
    )
    found = np.concatenate([half[:0:-1], half])
    found[top] += (1 << PRECISION_BITS) - int(found.sum())
    found.flags.writeable = False
    return found


def _laplace(decay: float, top: int) -> list[float]:
    """Probabilities of the steps 0 … top, of one sign, rounded to the nearest; top has all beyond."""
    beyond = sqrt(decay)
    shares = [1 - beyond]
    for _ in range(1, top):
        shares.append(beyond * (1 - decay) / 2)
        beyond *= decay
    shares.append(beyond / 2)
    return shares


def _decay(table: int) -> float:
    octaves, quarter = divmod(table - LOWEST, 4)
    decay = _DECAYS[quarter]
    for _ in range(octaves):
        decay = sqrt(decay)
    return decay


def _mean_magnitude(table: int) -> float:
    """2**(table / 4)."""
    octaves, quarter = divmod(table, 4)
    root = sqrt(sqrt(2))
    return float(2.0**octaves) * (1.0, root, root * root, root * root * root)[quarter]
