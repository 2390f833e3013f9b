"""A codec's specification for one boundary: with a calibration of the tensors that cross there, and no others.

The planner fits one calibration for every place where it may cut. Devices should not have to hold all of it.
"""

from __future__ import annotations

from collections.abc import Collection

from tercet.codecs import Calibration
from tercet.models.store import Store
from tercet_cloud.measurement.codec_menu import METHOD


def narrowed_spec(store: Store, spec: str, tensors: Collection[str]) -> str:
    """The same codec for `tensors` alone; the smaller calibration is in the store afterwards.

    What it codes is the same, byte by byte, but for the digest in the header. `spec` itself if it names no
    calibration, or one without parts to leave out. Raises NotFoundError.
    """
    found = METHOD.search(spec)
    if found is None:
        return spec
    whole = store.calibration(found[1])
    parts = tuple(part for part in whole.tensors if part.tensor in tensors)
    if not parts or len(parts) == len(whole.tensors):
        return spec
    narrow = Calibration(method=whole.method, tensors=parts)
    return METHOD.sub(f"static@{store.add_calibration(narrow)}", spec)
