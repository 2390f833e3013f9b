"""`klt`: its bound, its coder against one written from its description, and what it refuses."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.codecs import FLOAT32
from tercet.codecs import Calibration, Codec, EncodedTensor, KnownCalibrations, calibrate, parse_codec
from tercet.codecs.ans import decode_symbols, encode_symbols
from tercet.codecs.codec import Float32Array
from tercet.codecs.cosine import from_frequencies, to_frequencies
from tercet.codecs.laplace_tables import HIGHEST, LOWEST, frequencies, top_of
from tercet.codecs.transform import TransformCodec
from tercet.codecs.transform_calibration import packed_floats
from tercet.codecs.transform_fit import fit_transform
from tercet.documents import parse_document
from tercet.errors import SpecError, TensorContractError, TercetError, WireFormatError

SHAPES = [(6, 4, 4), (3, 5), (8,), (1, 3, 2, 2)]


def smooth_samples(shape: tuple[int, ...], count: int = 40, seed: int = 0) -> Float32Array:
    """(count, *shape): channels that are mixtures of fewer, smooth over the last axis."""
    mixture = np.random.default_rng(20).normal(size=(shape[0], max(1, shape[0] // 2)))
    random = np.random.default_rng(seed)
    sources = random.laplace(size=(count, max(1, shape[0] // 2), *shape[1:])).cumsum(axis=-1)
    mixed = np.tensordot(mixture, sources, (1, 1)).swapaxes(0, 1)
    return np.asarray(mixed + 0.05 * random.normal(size=mixed.shape) + 1, np.float32)


def codec_for(shape: tuple[int, ...], quality: int, *, weighted: bool = False) -> TransformCodec:
    importance = np.linspace(0.1, 2, shape[0]) if weighted else None
    tones = np.linspace(2, 0.5, prod(shape[1:])).reshape(shape[1:]) if weighted else None
    calibration = fit_transform([smooth_samples(shape)], importance=importance, tone_importance=tones)
    codec = parse_codec(f"klt:{quality}:static@{calibration.digest}", KnownCalibrations([calibration]))
    assert isinstance(codec, TransformCodec)
    return codec


def there_and_back(codec: Codec, array: Float32Array) -> Float32Array:
    encoded = codec.encode(array)
    found = codec.decode(EncodedTensor(bytes(encoded.payload), encoded.parameters), FLOAT32, array.shape)
    return np.asarray(found, np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("quality", [0, 4, 13, 24])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_weighted_error_is_at_most_half_a_step(shape: tuple[int, ...], quality: int, weighted: bool) -> None:
    codec = codec_for(shape, quality, weighted=weighted)
    array = smooth_samples(shape, 5, seed=1)
    before = array.tobytes()
    found = there_and_back(codec, array)
    assert array.tobytes() == before
    assert (found.dtype, found.shape) == (FLOAT32, array.shape)
    step = codec.transform.unit * 2 ** (-quality / 4)
    weights = codec.transform.weight_array.reshape(-1, *[1] * (len(shape) - 1))
    error = to_frequencies((found - array) * weights) * codec.transform.tone_array.reshape(shape[1:])
    assert np.sqrt(np.square(error).mean()) <= step / 2 * (1 + 1e-3) + 1e-5


def test_it_takes_fewer_bytes_than_steps_of_equal_error() -> None:
    samples, array = smooth_samples((16, 8, 8)), smooth_samples((16, 8, 8), 8, seed=1)
    transform, ranges = fit_transform([samples]), calibrate([samples])
    known = KnownCalibrations([transform, ranges])
    small = parse_codec(f"klt:10:static@{transform.digest}", known)
    plain = parse_codec(f"int4:static@{ranges.digest}+zstd:19", known)
    error, plain_error = (np.square(there_and_back(codec, array) - array).mean() for codec in (small, plain))
    assert error < plain_error
    assert small.encode(array).size_bytes < 0.8 * plain.encode(array).size_bytes


@pytest.mark.parametrize("shape", SHAPES)
def test_every_quality_step_costs_bytes_and_a_frame_of_nothing_none(shape: tuple[int, ...]) -> None:
    array = smooth_samples(shape, 5, seed=1)
    sizes = [codec_for(shape, quality).encode(array).size_bytes for quality in (0, 8, 16, 24)]
    assert sizes == sorted(sizes)
    codec = codec_for(shape, 4)
    assert codec.encode(array[:0]).size_bytes == 0
    assert codec.decode(EncodedTensor(b""), FLOAT32, (0, *shape)).shape == (0, *shape)


@given(scale=st.sampled_from([0.0, 1e-38, 1.0, 1e3, 1e6, 1e8, 3e38]), seed=st.integers(0, 99))
def test_the_bound_holds_for_tensors_unlike_the_calibration_or_they_are_refused(scale: float, seed: int) -> None:
    codec = codec_for((6, 4, 4), 8)
    array = (np.random.default_rng(seed).uniform(-1, 1, size=(1, 6, 4, 4)) * scale).astype(np.float32)
    try:
        found = there_and_back(codec, array)
    except TensorContractError:
        assert scale > 1e6
        return
    half = codec.transform.unit / 2**2 / 2
    assert np.sqrt(np.square(found - array).mean()) <= half * (1 + 1e-3) + 1e-6 * scale


def test_outliers_that_no_encoder_sends_are_refused() -> None:
    codec = codec_for((6, 4, 4), 8)
    encoded = codec.encode(smooth_samples((6, 4, 4), 1))
    assert encoded.parameters == b""
    for wrong in ([(96, 5000)], [(3, 5000), (3, 5000)], [(4, 5000), (3, 5000)], [(3, 1)], [(3, 1 << 25)]):
        parameters = np.array(wrong, np.dtype("<i4")).tobytes()
        with pytest.raises(WireFormatError, match=r"klt:8.*parameters"):
            codec.decode(EncodedTensor(encoded.payload, parameters), FLOAT32, (1, 6, 4, 4))


def reference_words(parts: list[tuple[int, list[int]]]) -> list[int]:
    """The coder as `ans.py` describes it."""
    state, words = 0, []
    for table, symbols in reversed(parts):
        counts = frequencies(table).tolist()
        for symbol in reversed(symbols):
            frequency, before = counts[symbol], sum(counts[:symbol])
            if state >> 40 >= frequency:
                words.append(state & 0xFFFFFFFF)
                state >>= 32
            state = (state // frequency << 24) + before + state % frequency
    while state:
        words.append(state & 0xFFFFFFFF)
        state >>= 32
    return words


@settings(max_examples=60)
@given(data=st.data())
def test_the_coder_is_the_described_one_and_gives_back_every_symbol(data: st.DataObject) -> None:
    tables = data.draw(st.lists(st.integers(LOWEST, 12), min_size=1, max_size=4))
    parts = [
        (table, data.draw(st.lists(st.integers(0, 2 * top_of(table)), max_size=40), label=f"table {table}"))
        for table in tables
    ]
    payload = encode_symbols([(table, np.array(symbols, np.int32)) for table, symbols in parts])
    assert np.frombuffer(payload, "<u4").tolist() == reference_words(parts)
    found = decode_symbols(payload, [(table, len(symbols)) for table, symbols in parts], "klt")
    assert [part.tolist() for part in found] == [symbols for _, symbols in parts]


def test_tables_are_whole_numbers_that_sum_to_all_and_are_symmetric() -> None:
    for table in range(LOWEST, HIGHEST + 1, 4):
        counts = frequencies(table)
        assert counts.sum() == 1 << 24
        assert counts.min() >= 1
        assert len(counts) == 2 * top_of(table) + 1
        assert np.array_equal(counts, counts[::-1])
    # Other clients must have the same: these are part of the wire.
    assert frequencies(LOWEST)[[15, 16, 17]].tolist() == [232177, 16286638, 232177]
    assert frequencies(0)[[71, 72, 73]].tolist() == [3166836, 6456636, 3166836]


@pytest.mark.parametrize("shape", [(2, 3, 7), (1, 4, 5, 6), (2, 1, 3, 4, 5), (3, 2)])
def test_frequencies_keep_lengths_and_lead_back(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    changed = to_frequencies(array)
    assert np.linalg.norm(changed) == pytest.approx(np.linalg.norm(array), rel=1e-5)
    assert np.allclose(from_frequencies(changed), array, atol=1e-5)


@settings(max_examples=300)
@given(payload=st.binary(max_size=200))
def test_any_payload_is_decoded_or_refused(payload: bytes) -> None:
    codec = codec_for((6, 4, 4), 8)
    try:
        found = codec.decode(EncodedTensor(payload), FLOAT32, (1, 6, 4, 4))
    except WireFormatError:
        return
    assert np.isfinite(found).all()


def test_a_payload_that_no_encoder_sends_is_refused() -> None:
    codec = codec_for((6, 4, 4), 8)
    shape = (2, 6, 4, 4)
    payload = bytes(codec.encode(smooth_samples((6, 4, 4), 2)).payload)
    for wrong in (payload[:-1], payload + b"\1\0\0\0", payload + bytes(4), payload * 40):
        with pytest.raises(WireFormatError, match="klt:8"):
            codec.decode(EncodedTensor(wrong), FLOAT32, shape)
    for other in ((2, 6, 4, 5), (6, 4, 4), ()):
        with pytest.raises(WireFormatError, match="calibrated for"):
            codec.decode(EncodedTensor(payload), FLOAT32, other)
    with pytest.raises(WireFormatError, match="parameters"):
        codec.decode(EncodedTensor(payload, b"x"), FLOAT32, shape)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(value: float) -> None:
    array = smooth_samples((6, 4, 4), 1)
    array[0, 3, 2, 1] = value
    with pytest.raises(TensorContractError, match="finite"):
        codec_for((6, 4, 4), 8).encode(array)


def test_other_shapes_and_dtypes_are_refused() -> None:
    codec = codec_for((6, 4, 4), 8)
    for wrong in (np.zeros((1, 6, 4), np.float32), np.zeros((), np.float32), np.zeros((1, 6, 4, 4), np.float64)):
        with pytest.raises(TensorContractError, match="klt:8"):
            codec.encode(wrong)


@pytest.mark.parametrize(
    "spec", ["klt", "klt:8", "klt:61:static@0123456789ab", "klt:08:static@0123456789ab", "klt:8:static@xyz"]
)
def test_a_wrong_spelling_says_how_to_write_it(spec: str) -> None:
    with pytest.raises(SpecError, match="klt:QUALITY:static@DIGEST"):
        parse_codec(spec)


def test_it_stands_alone_and_needs_a_transform_as_steps_need_ranges() -> None:
    transform = fit_transform([smooth_samples((6, 4, 4))])
    ranges = calibrate([smooth_samples((6, 4, 4))])
    known = KnownCalibrations([transform, ranges])
    with pytest.raises(SpecError, match="stands alone"):
        parse_codec(f"klt:8:static@{transform.digest}+zstd", known)
    with pytest.raises(SpecError, match="klt needs a transform"):
        parse_codec(f"klt:8:static@{ranges.digest}", known)
    with pytest.raises(SpecError, match="intN needs ranges"):
        parse_codec(f"int8:static@{transform.digest}", known)


def test_a_calibration_is_the_same_after_reading_and_refused_if_it_is_none() -> None:
    calibration = fit_transform([smooth_samples((3, 5))])
    data = calibration.model_dump(mode="json")
    assert parse_document(Calibration, data, "a file").sha256 == calibration.sha256
    for field, value in {
        "mean": packed_floats(np.zeros(2)),
        "weights": packed_floats(np.array([1.0, -1.0, 1.0])),
        "basis": packed_floats(np.ones((3, 3))),
        "scales": "AAAA",
        "tones": packed_floats(np.zeros(5)),
        "unit": 0.0,
        "shape": [3, 6],
    }.items():
        wrong = {**data, "tensors": [{**data["tensors"][0], field: value}]}
        with pytest.raises(TercetError, match="a file"):
            parse_document(Calibration, wrong, "a file")


def test_many_channels_are_left_unmixed() -> None:
    samples = np.random.default_rng(0).normal(size=(4, 600)).astype(np.float32)
    calibration = fit_transform([samples])
    codec = parse_codec(f"klt:16:static@{calibration.digest}", KnownCalibrations([calibration]))
    found = there_and_back(codec, samples)
    assert np.abs(found - samples).max() <= 2**-4 * 1.1 / 2
