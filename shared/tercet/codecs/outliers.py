"""Steps beyond a table's largest: rare, so each is written out with its place.

8 bytes each, in the parameters of the tensor: place in coding order, unsigned, then the step, signed, both 32-bit
little-endian; places rise.
"""

from __future__ import annotations

import numpy as np

from tercet.codecs.codec import Float32Array
from tercet.errors import TensorContractError, WireFormatError

# More of them, or larger ones, and the tensor is nothing like those that the tables were made for.
MAX_OUTLIERS = 1 << 15
MAX_STEP = 1 << 24
_OUTLIER = np.dtype([("place", "<u4"), ("step", "<i4")])


def pack_outliers(steps: Float32Array, tops: Float32Array, spec: str) -> bytes:
    """What is beyond `tops` in `steps`; both (N, n), the first whole numbers, perhaps infinite or NaN.

    Raises TensorContractError if that is too much, or not finite.
    """
    reach = np.abs(steps)
    if bool((reach <= tops).all()):
        return b""
    places = np.flatnonzero(~(reach <= tops))
    values = steps.reshape(-1)[places]
    if len(places) > MAX_OUTLIERS or not bool((np.abs(values) <= MAX_STEP).all()):
        raise TensorContractError(
            f"codec {spec}: this tensor is nothing like those it was calibrated on; calibrate again, or use int8"
        )
    outliers = np.empty(len(places), _OUTLIER)
    outliers["place"], outliers["step"] = places, values
    return outliers.tobytes()


def restore_outliers(parameters: bytes, steps: Float32Array, tops: Float32Array, spec: str) -> None:
    """Write them into `steps` (N, n). WireFormatError for what `pack_outliers` can't have given."""
    if len(parameters) % _OUTLIER.itemsize or len(parameters) > MAX_OUTLIERS * _OUTLIER.itemsize:
        raise WireFormatError(f"{spec} parameters: {len(parameters)} bytes are not whole outliers, or too many")
    outliers = np.frombuffer(parameters, _OUTLIER)
    places, values = outliers["place"].astype(np.int64), outliers["step"].astype(np.float32)
    if not len(places):
        return
    if int(places[-1]) >= steps.size or bool((np.diff(places) <= 0).any()):
        raise WireFormatError(f"{spec} parameters: places of outliers must rise, and lie in the tensor")
    reach = np.abs(values)
    if bool((reach <= tops[places % len(tops)]).any()) or float(reach.max()) > MAX_STEP:
        raise WireFormatError(f"{spec} parameters: a step that is no outlier, or beyond all")
    steps.reshape(-1)[places] = values
