"""Named tensors to and from wire headers and payloads, each with its codec."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

from tercet.codecs import BARE, CodecContext, EncodedTensor
from tercet.codecs.codec import Array, Buffer, Codec
from tercet.errors import TensorContractError, WireFormatError
from tercet.limits import MAX_NAME_CHARS, MAX_RANK, MAX_TENSORS, check_tensor_bytes
from tercet.v1 import frame_pb2 as pb
from tercet.wire.dtypes import numpy_dtype, wire_dtype

Tensors = Mapping[str, Array]
# What to use in place of a tensor's codec, given its name.
Bind = Callable[[str, Codec], Codec]


def as_it_is(name: str, codec: Codec) -> Codec:
    """No other codec than the specification's."""
    return codec


def encode_tensors(
    tensors: Tensors,
    codec_spec: str,
    context: CodecContext = BARE,
    bind: Bind = as_it_is,
) -> tuple[list[pb.TensorHeader], list[Buffer]]:
    """Headers and payloads of `tensors`, in their order.

    Tensors that are not float32 (indices, masks, lengths) cross as `raw`: lossy codecs are for activations.
    Raises what the codec raises, and what `check_headers` does: nothing is sent that a receiver would refuse.
    """
    check_tensor_bytes(sum(array.nbytes for array in tensors.values()), "these tensors")
    headers: list[pb.TensorHeader] = []
    payloads: list[Buffer] = []
    for name, array in tensors.items():
        dtype = wire_dtype(array.dtype)
        spec = codec_spec if dtype == pb.DATA_TYPE_FLOAT32 else "raw"
        codec = bind(name, context.codec(spec, name))
        encoded = codec.encode(array)
        headers.append(
            pb.TensorHeader(
                name=name,
                dtype=dtype,
                shape=array.shape,
                codec=codec.spec,
                parameters=encoded.parameters,
                payload_bytes=len(encoded.payload),
            )
        )
        payloads.append(encoded.payload)
    check_headers(headers)
    return headers, payloads


def check_headers(headers: Sequence[pb.TensorHeader]) -> None:
    """Refuse headers whose claims are over the limits, before anything is allocated for them."""
    if len(headers) > MAX_TENSORS:
        raise WireFormatError(f"{len(headers)} tensors in one frame; {MAX_TENSORS} are allowed")
    total_bytes = 0
    for header in headers:
        if len(header.shape) > MAX_RANK:
            raise WireFormatError(f"tensor {header.name!r} has rank {len(header.shape)}; {MAX_RANK} is the most")
        if max(len(header.name), len(header.codec)) > MAX_NAME_CHARS:
            raise WireFormatError(f"a tensor's name or codec has more than {MAX_NAME_CHARS} characters")
        item_bytes = numpy_dtype(header.dtype).itemsize
        # An array without elements may not claim more than one with them: numpy multiplies the other axes too.
        check_tensor_bytes(
            prod(size for size in header.shape if size) * item_bytes, f"tensor {header.name!r} claims to"
        )
        total_bytes += prod(header.shape) * item_bytes
    check_tensor_bytes(total_bytes, "the tensors of this frame claim to")
    if len({header.name for header in headers}) != len(headers):
        raise WireFormatError("two tensors of one frame have the same name")


def decode_tensors(
    headers: Sequence[pb.TensorHeader],
    payloads: Sequence[memoryview],
    context: CodecContext = BARE,
    bind: Bind = as_it_is,
) -> dict[str, Array]:
    """Arrays by name. The headers must have passed `check_headers`.

    Raises:
        SpecError: a codec this version does not know, named.
        NotFoundError: a calibration that is not here.
        StaleReferenceError: a delta frame (only `bind` can give its codec what it refers to).
        WireFormatError: a payload that does not fit its header.
        TensorContractError: a lossy codec on a dtype that is not float32.
    """
    tensors: dict[str, Array] = {}
    for header, payload in zip(headers, payloads, strict=True):
        codec = bind(header.name, context.codec(header.codec, header.name))
        dtype = numpy_dtype(header.dtype)
        if codec.spec != "raw" and dtype.name != "float32":
            raise TensorContractError(f"tensor {header.name!r}: codec {codec.spec} cannot give {dtype.name}")
        tensors[header.name] = codec.decode(EncodedTensor(payload, header.parameters), dtype, tuple(header.shape))
    return tensors
