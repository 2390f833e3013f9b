"""What a tier brings to its codecs beside their specification."""

from __future__ import annotations

from dataclasses import dataclass

from tercet.codecs.calibration import Calibrations
from tercet.codecs.codec import Codec
from tercet.codecs.registry import parse_codec
from tercet.codecs.step_kernel import StepKernel
from tercet.models.card import ImageInput


@dataclass(frozen=True)
class CodecContext:
    """Makes codecs for one model on one tier.

    `calibrations` finds those that static codecs name; `image` is the card's input, for image codecs that shall
    encode; `kernel` computes static quantisation (None: numpy).
    """

    calibrations: Calibrations | None = None
    image: ImageInput | None = None
    kernel: StepKernel | None = None

    def codec(self, spec: str, tensor: str) -> Codec:
        """The codec a specification names, for the tensor of that name. Errors as for `parse_codec`."""
        return parse_codec(spec, self.calibrations, tensor, self.image, self.kernel)


# Enough for codecs that need nothing but their specification.
BARE = CodecContext()
