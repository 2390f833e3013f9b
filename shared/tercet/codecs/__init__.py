"""How a boundary tensor is coded for a link.

`spec` is the grammar, `stage` how stages compose, `registry` the list of them, `codec` the interface of the result;
every stage has a file of its own. `calibration` holds ranges that both ends know, `ranges` finds them; `context` is
what a tier brings to its codecs.
"""

from tercet.codecs.calibration import Calibration, Calibrations, KnownCalibrations
from tercet.codecs.codec import Codec, EncodedTensor
from tercet.codecs.context import BARE, CodecContext
from tercet.codecs.ranges import calibrate, join_calibrations
from tercet.codecs.registry import codec_names, parse_codec, parse_spec

__all__ = [
    "BARE",
    "Calibration",
    "Calibrations",
    "Codec",
    "CodecContext",
    "EncodedTensor",
    "KnownCalibrations",
    "calibrate",
    "codec_names",
    "join_calibrations",
    "parse_codec",
    "parse_spec",
]
