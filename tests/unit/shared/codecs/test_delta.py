"""A delta tensor decodes to the very steps of its sender, or is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tercet.codecs import EncodedTensor, KnownCalibrations, calibrate, parse_codec, parse_spec
from tercet.codecs.codec import Float32Array
from tercet.codecs.delta import (
    Exchange,
    StepTensor,
    bind_exchange,
    decode_delta,
    encode_delta,
    is_delta_tensor,
    key_interval,
)
from tercet.codecs.quantised import QuantisedCodec
from tercet.codecs.scales import read_scales
from tercet.errors import SpecError, StaleReferenceError, TercetError, WireFormatError

FLOAT32 = np.dtype(np.float32)
SHAPE = (2, 3, 4, 5)
BITS = (2, 3, 4, 5, 6, 7, 8)
ENTROPY = ("", "+zstd", "+zstd:3:bitshuffle")


def scene(seed: int, frames: int, move: float) -> list[Float32Array]:
    """Frames (2, 3, 4, 5) whose values wander by about `move` of their channel's range each; ranges differ."""
    generator = np.random.default_rng(seed)
    ranges = np.array([1e-3, 1, 50]).reshape(1, 3, 1, 1)
    current = generator.normal(0, 1, SHAPE)
    found = []
    for _ in range(frames):
        current = current + generator.normal(0, move, SHAPE)
        found.append((current * ranges).astype(np.float32))
    return found


def there(
    spec: str, array: Float32Array, exchange: Exchange, known: KnownCalibrations | None = None
) -> EncodedTensor:
    encoded = bind_exchange(parse_codec(spec, known), exchange).encode(array)
    return EncodedTensor(bytes(encoded.payload), encoded.parameters)


def back(
    spec: str,
    encoded: EncodedTensor,
    exchange: Exchange,
    known: KnownCalibrations | None = None,
    shape: tuple[int, ...] = SHAPE,
) -> Float32Array:
    return bind_exchange(parse_codec(spec, known), exchange).decode(encoded, FLOAT32, shape).view(np.float32)


def plain(spec: str, array: Float32Array, known: KnownCalibrations | None = None) -> Float32Array:
    """What the codec without delta decodes to."""
    codec = parse_codec(spec, known)
    return codec.decode(codec.encode(array), FLOAT32, array.shape).view(np.float32)


def tensor_of(exchange: Exchange) -> StepTensor:
    assert exchange.tensor is not None
    return exchange.tensor


def run(
    spec: str, frames: list[Float32Array], known: KnownCalibrations | None = None
) -> list[tuple[EncodedTensor, Float32Array, StepTensor]]:
    """Each frame as a difference from the one before: coded, decoded, and as steps."""
    sent: dict[int, StepTensor] = {}
    got: dict[int, StepTensor] = {}
    found = []
    for number, frame in enumerate(frames, 1):
        before = frame.tobytes()
        sender, receiver = Exchange(sent), Exchange(got)
        encoded = there(spec, frame, sender, known)
        decoded = back(spec, encoded, receiver, known)
        assert frame.tobytes() == before
        sent, got = {number: tensor_of(sender)}, {number: tensor_of(receiver)}
        assert tensor_of(sender).digest == tensor_of(receiver).digest
        found.append((encoded, decoded, tensor_of(receiver)))
    return found


@given(
    bits=st.sampled_from(BITS),
    pair=arrays.arrays(np.uint8, (2, 37)),
)
def test_a_difference_is_undone_exactly(bits: int, pair: np.ndarray) -> None:
    current, reference = pair & (2**bits - 1)
    difference = encode_delta(current, reference, bits)
    assert difference.max() < 2**bits
    assert (decode_delta(difference, reference, bits) == current).all()


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("entropy", ENTROPY)
@pytest.mark.parametrize("form", ["", ":sym"])
@given(seed=st.integers(0, 2**32), move=st.sampled_from([0.0, 0.01, 0.3, 3.0]))
def test_with_static_scales_a_stream_decodes_to_what_the_codec_without_delta_gives(
    bits: int, entropy: str, form: str, seed: int, move: float
) -> None:
    frames = scene(seed, 4, move)
    known = KnownCalibrations()
    inner = f"int{bits}{form}:static@{known.add(calibrate(frames[:2], method='percentile:95'))}{entropy}"
    found = run(f"delta:30+{inner}", frames, known)
    for frame, (_, decoded, _) in zip(frames, found, strict=True):
        assert decoded.tobytes() == plain(inner, frame, known).tobytes()
    assert [is_delta_tensor(encoded.parameters) for encoded, _, _ in found] == [False, True, True, True]


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("form", ["", ":sym", ":tensor"])
@given(seed=st.integers(0, 2**32), move=st.sampled_from([0.0, 0.01, 0.3, 3.0]))
def test_with_scales_of_each_frame_nothing_is_further_off_than_two_steps(
    bits: int, form: str, seed: int, move: float
) -> None:
    frames = scene(seed, 5, move)
    inner = f"int{bits}{form}"
    codec = parse_codec(inner)
    assert isinstance(codec, QuantisedCodec)
    found = run(f"delta:30+{inner}+zstd", frames)
    assert found[0][1].tobytes() == plain(inner, frames[0]).tobytes()
    for frame, (_, decoded, tensor) in zip(frames, found, strict=True):
        channels = 1 if form == ":tensor" else 3
        scales = read_scales(tensor.parameters, channels, codec.stage, inner)
        own = read_scales(codec.to_steps(frame)[1], channels, codec.stage, inner)
        assert (scales.scale <= 2 * own.scale).all()
        error = np.abs(decoded.astype(np.float64) - frame)
        assert (error <= 2.001 * scales.scale.reshape(1, -1, 1, 1)).all()


def test_where_nothing_changes_neither_steps_nor_scales_are_sent() -> None:
    frame = scene(1, 1, 0)[0]
    key, delta = (encoded for encoded, _, _ in run("delta:30+int8+zstd", [frame, frame]))
    assert len(key.parameters) == 1 + 3 * 5
    # Head and an empty bitmap of three channels.
    assert len(delta.parameters) == 1 + 8 + 8 + 1
    assert len(delta.payload) < len(key.payload) / 3


def test_a_channel_that_outgrows_its_scale_or_shrinks_far_below_it_is_renewed() -> None:
    frame = scene(2, 1, 0)[0]
    larger, smaller = frame.copy(), frame.copy()
    larger[:, 1] *= 3
    smaller[:, 2] /= 5
    for changed in (larger, smaller):
        _, (encoded, decoded, _) = run("delta:30+int8", [frame, changed])
        assert len(encoded.parameters) == 1 + 8 + 8 + 1 + 5
        assert np.abs(decoded - plain("int8", changed)).max() <= np.ptp(changed, axis=(0, 2, 3)).max() / 250


def test_a_channel_that_wakes_up_is_renewed() -> None:
    asleep = np.zeros(SHAPE, np.float32)
    awake = asleep.copy()
    awake[0, 1] = 1e-3
    _, (_, decoded, _) = run("delta:30+int8", [asleep, awake])
    assert np.abs(decoded - awake).max() < 1e-5


@pytest.mark.parametrize("scales", ["static", "frame"])
@given(
    seed=st.integers(0, 2**32),
    hold=st.sampled_from([0.1, 0.5, 1, 4, 20.25]),
    move=st.sampled_from([0.0, 0.01, 0.1]),
)
def test_held_steps_never_drift_further_than_the_hold(scales: str, seed: int, hold: float, move: float) -> None:
    frames = scene(seed, 8, move)
    known = KnownCalibrations()
    inner = "int8" if scales == "frame" else f"int8:static@{known.add(calibrate(frames))}"
    codec = parse_codec(inner, known)
    assert isinstance(codec, QuantisedCodec)
    for frame, (_, decoded, tensor) in zip(frames, run(f"delta:30:hold{hold}+{inner}", frames, known), strict=True):
        step = codec.static or read_scales(tensor.parameters, 3, codec.stage, inner)
        error = np.abs(decoded.astype(np.float64) - frame) / step.scale.reshape(1, -1, 1, 1)
        # Where zero points are rounded, the ends of a range are half a step further off.
        assert error.max() <= max(hold + 0.51, 2.001 if scales == "frame" else 1.001)


def test_held_steps_keep_noise_off_the_link() -> None:
    frames, known = scene(3, 2, 0.005), KnownCalibrations()
    inner = f"int8:static@{known.add(calibrate(frames))}+zstd"
    (_, (exact, _, _)), (_, (held, _, _)) = (
        run(f"delta:30{hold}+{inner}", frames, known) for hold in ("", ":hold4")
    )
    assert len(held.payload) < len(exact.payload) / 2


def test_a_key_tensor_is_that_of_the_codec_without_delta_and_needs_no_stream() -> None:
    frame = scene(4, 1, 0)[0]
    with_delta, without = parse_codec("delta:5+int4+zstd"), parse_codec("int4+zstd")
    encoded = with_delta.encode(frame)
    assert bytes(encoded.payload) == bytes(without.encode(frame).payload)
    assert encoded.parameters[1:] == without.encode(frame).parameters
    assert with_delta.decode(encoded, FLOAT32, SHAPE).tobytes() == plain("int4+zstd", frame).tobytes()


def test_another_shape_than_the_references_makes_a_key_tensor() -> None:
    first, exchange = scene(5, 1, 0)[0], Exchange()
    there("delta:5+int8", first, exchange)
    again = Exchange({1: tensor_of(exchange)})
    assert not is_delta_tensor(there("delta:5+int8", first[:1], again).parameters)
    assert is_delta_tensor(there("delta:5+int8", first, again).parameters)
    assert not is_delta_tensor(there("delta:5+int6", first, again).parameters)


@pytest.mark.parametrize("shape", [(0,), (0, 3, 4), (2, 0, 3), ()])
def test_tensors_of_no_or_one_element_pass(shape: tuple[int, ...]) -> None:
    frame, sent, got = np.ones(shape, np.float32), Exchange(), Exchange()
    for number in range(2):
        encoded = there("delta:5+int8+zstd", frame, sent)
        decoded = back("delta:5+int8+zstd", encoded, got, shape=shape)
        assert decoded.shape == shape
        assert np.allclose(decoded, frame)
        assert is_delta_tensor(encoded.parameters) == bool(number)
        sent, got = Exchange({1: tensor_of(sent)}), Exchange({1: tensor_of(got)})


# --- what a receiver refuses


def delta_and_its_reference(spec: str = "delta:5+int8") -> tuple[EncodedTensor, StepTensor]:
    first, second = scene(6, 2, 0.01)
    exchange = Exchange()
    there(spec, first, exchange)
    reference = tensor_of(exchange)
    return there(spec, second, Exchange({7: reference})), reference


def test_without_the_reference_a_delta_tensor_is_refused() -> None:
    encoded, reference = delta_and_its_reference()
    with pytest.raises(StaleReferenceError, match=r"frame 7, which .* is not held here: send a key frame"):
        parse_codec("delta:5+int8").decode(encoded, FLOAT32, SHAPE)
    with pytest.raises(StaleReferenceError, match="not held here"):
        back("delta:5+int8", encoded, Exchange({6: reference}))


def test_another_reference_of_the_same_number_is_refused() -> None:
    encoded, reference = delta_and_its_reference()
    steps = reference.steps.copy()
    steps[3] ^= 1
    parameters = bytes([reference.parameters[0] ^ 1]) + reference.parameters[1:]
    others = [
        StepTensor(reference.spec, SHAPE, steps, reference.parameters),
        StepTensor(reference.spec, SHAPE, reference.steps, parameters),
        StepTensor(reference.spec, SHAPE[::-1], reference.steps, reference.parameters),
        StepTensor("int8:sym", SHAPE, reference.steps, reference.parameters),
    ]
    for other in others:
        with pytest.raises(StaleReferenceError, match="is another one here"):
            back("delta:5+int8", encoded, Exchange({7: other}))
    back("delta:5+int8", encoded, Exchange({7: reference}))


@given(parameters=st.binary(max_size=40), payload=st.binary(min_size=60, max_size=60), bits=st.sampled_from(BITS))
def test_any_parameters_and_payload_are_refused_or_give_finite_values(
    parameters: bytes, payload: bytes, bits: int
) -> None:
    spec, shape = f"delta:5+int{bits}", (1, 3, 20)
    exchange = Exchange()
    there(spec, np.linspace(-1, 1, 60, dtype=np.float32).reshape(shape), exchange)
    reference = tensor_of(exchange)
    head = b"\1" + (7).to_bytes(8, "little") + reference.digest.to_bytes(8, "little")
    size = (60 * bits + 7) // 8
    for sent in (parameters, head + parameters, b"\0" + parameters):
        try:
            found = back(spec, EncodedTensor(payload[:size], sent), Exchange({7: reference}), shape=shape)
        except TercetError:
            continue
        assert np.isfinite(found).all()


@pytest.mark.parametrize("parameters", [b"", b"\2", b"\1", b"\1" + bytes(15), b"\xff" + bytes(20)])
def test_parameters_that_are_neither_key_nor_delta_are_refused(parameters: bytes) -> None:
    with pytest.raises(WireFormatError):
        parse_codec("delta:5+int8").decode(EncodedTensor(bytes(6), parameters), FLOAT32, (1, 2, 3))


def test_a_difference_of_more_bits_than_a_step_has_is_refused() -> None:
    encoded, reference = delta_and_its_reference("delta:5+int5+zstd")
    inner = EncodedTensor(b"\x20" * 120, encoded.parameters)
    codec = bind_exchange(parse_codec("delta:5+int5+zstd"), Exchange({7: reference}))
    with pytest.raises(WireFormatError, match="a difference has more than 5 bits"):
        codec.inner.decode(inner, FLOAT32, SHAPE)  # type: ignore[attr-defined]


# --- specifications


@pytest.mark.parametrize(
    "spec", ["delta:2+int8", "delta:30:hold4+int4:sym+zstd:3", "delta:30:hold0.25+int4", "delta:10000+int2:tensor"]
)
def test_a_specification_is_its_own_spelling(spec: str) -> None:
    assert str(parse_spec(spec)) == parse_codec(spec).spec == spec
    assert key_interval(parse_spec(spec)) == int(spec.split("+")[0].split(":")[1])
    assert key_interval(parse_spec("int8")) is None


@pytest.mark.parametrize(
    "spec",
    [
        "delta",
        "delta:1+int8",
        "delta:030+int8",
        "delta:10001+int8",
        "delta:30:4+int8",
        "delta:30:hold0+int8",
        "delta:30:hold100+int8",
        "delta:30:hold-1+int8",
        "delta:30:hold+int8",
        "delta:30:hold4:hold4+int8",
        "delta:30",
        "delta:30+zstd",
        "delta:30+fp16",
        "delta:30+raw+zstd",
        "delta:30+jpeg:90",
        "delta:30+top10%+int8",
        "top10%+delta:30+int8",
        "int8+delta:30",
        "delta:30+delta:30+int8",
    ],
)
def test_an_impossible_specification_is_refused(spec: str) -> None:
    with pytest.raises(SpecError):
        parse_spec(spec)
