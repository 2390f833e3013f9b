"""An ONNX model in 8-bit arithmetic, by ONNX Runtime's static quantiser. Needs the package `onnx` (extra cloud).

Weights become int8 with one scale a channel, activations uint8 with ranges from sample inputs. Processors with dot
product instructions (VNNI, ARMv8.2) sum exactly; older x86 ones may saturate, so measure on the kind that will
run it.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from tercet.codecs.codec import Array
from tercet.errors import MissingExtraError, SpecError


def quantise_model(onnx_bytes: bytes, samples: Iterable[Mapping[str, Array]]) -> bytes:
    """The same model with 8-bit convolutions and products, as QuantizeLinear and DequantizeLinear around them.

    Args:
        samples: inputs by name, alike to those that it will see; at least one.
    Raises:
        SpecError: the quantiser cannot take this model.
        MissingExtraError: no `onnx` here.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    except ImportError as error:
        raise MissingExtraError("quantising needs onnx: run `pip install 'tercet[cloud]'`") from error
    # Its advice to pre-process models goes to the root logger; the catalogue's are exported folded.
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "quantised.onnx"
            quantize_static(
                onnx.load_model_from_string(onnx_bytes),
                target,
                _Samples(samples),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                weight_type=QuantType.QInt8,
                activation_type=QuantType.QUInt8,
            )
            model = onnx.load(target)
    except Exception as error:  # the quantiser's exceptions have no common base
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise SpecError(f"ONNX Runtime cannot quantise this model: {reason}") from error
    finally:
        logging.disable(before)
    model.producer_name = "tercet"
    model.ClearField("producer_version")
    data: bytes = model.SerializeToString(deterministic=True)
    return data


class _Samples:
    """What the quantiser reads: one frame a call, then None."""

    def __init__(self, samples: Iterable[Mapping[str, Array]]) -> None:
        self._left = iter(samples)

    def get_next(self) -> dict[str, Array] | None:
        frame = next(self._left, None)
        return None if frame is None else dict(frame)

    def __iter__(self) -> _Samples:
        return self

    def __next__(self) -> dict[str, Array]:
        if (frame := self.get_next()) is None:
            raise StopIteration
        return frame
