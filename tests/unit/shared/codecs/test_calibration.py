"""Calibrations: found from samples, addressed by content, kept in the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tercet.codecs import Calibration, CodecContext, KnownCalibrations, calibrate, join_calibrations, parse_codec
from tercet.codecs.codec import Float32Array
from tercet.errors import IntegrityError, NotFoundError, SpecError, TensorContractError
from tercet.models.store import Store
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Frame


def samples(channels: int = 3, count: int = 8) -> list[Float32Array]:
    generator = np.random.default_rng(2)
    spread = np.geomspace(0.1, 10, channels).reshape(1, channels, 1, 1)
    return [(generator.laplace(0, 1, (1, channels, 9, 9)) * spread).astype(np.float32) for _ in range(count)]


def test_min_max_holds_all_that_was_seen() -> None:
    seen = np.concatenate(samples())
    part = calibrate(samples()).of_tensor(None)
    assert part.low == tuple(seen.min(axis=(0, 2, 3)).tolist())
    assert part.high == tuple(seen.max(axis=(0, 2, 3)).tolist())


def test_ranges_contain_zero() -> None:
    part = calibrate([np.full((1, 2, 3), 5, np.float32), np.full((1, 2, 3), 6, np.float32)]).of_tensor(None)
    assert (part.low, part.high) == ((0, 0), (6, 6))


def test_a_percentile_leaves_as_much_outside_on_either_side() -> None:
    seen = np.concatenate(samples(1, 50))
    part = calibrate(samples(1, 50), method="percentile:99").of_tensor(None)
    assert np.mean(seen < part.low[0]) == pytest.approx(0.01, abs=0.003)
    assert np.mean(seen > part.high[0]) == pytest.approx(0.01, abs=0.003)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_least_squares_beats_min_max_at_its_bits(bits: int) -> None:
    errors = {}
    for method in ("minmax", f"mse:{bits}"):
        calibration = calibrate(samples(), method=method)
        codec = parse_codec(f"int{bits}:static@{calibration.digest}", KnownCalibrations([calibration]))
        errors[method] = sum(
            float(np.square(codec.decode(codec.encode(x), x.dtype, x.shape) - x).sum()) for x in samples()
        )
    assert errors[f"mse:{bits}"] < 0.85 * errors["minmax"]


def test_times_the_root_mean_square_is_a_symmetric_range() -> None:
    seen = np.concatenate(samples()).astype(np.float64)
    part = calibrate(samples(), method="rms:5.5", axis=None).of_tensor(None)
    assert part.high[0] == -part.low[0] == pytest.approx(5.5 * np.sqrt(np.square(seen).mean()), rel=1e-6)


def test_one_range_in_all_takes_tensors_of_any_rank() -> None:
    calibration = calibrate([np.array(3, np.float32), np.array([-1, 2], np.float32)], axis=None)
    assert (calibration.of_tensor("x").low, calibration.of_tensor("x").high) == ((-1,), (3,))


@pytest.mark.parametrize(
    "method", ["max", "percentile", "percentile:101", "percentile:x", "mse:1", "mse:2.5", "rms", "rms:0"]
)
def test_an_unknown_method_is_refused_with_the_known_ones(method: str) -> None:
    with pytest.raises(SpecError, match="known are minmax, percentile:P"):
        calibrate(samples(), method=method)


def test_samples_must_be_there_finite_and_of_one_kind() -> None:
    with pytest.raises(SpecError, match="at least one sample"):
        calibrate([])
    with pytest.raises(SpecError, match="same channels"):
        calibrate([np.ones((1, 2, 2), np.float32), np.ones((1, 3, 2), np.float32)])
    with pytest.raises(SpecError, match="no channels on axis 1"):
        calibrate([np.ones(3, np.float32)])
    with pytest.raises(TensorContractError, match="finite"):
        calibrate([np.full((1, 2, 2), np.nan, np.float32)])


def test_a_calibration_is_its_content() -> None:
    first, again = calibrate(samples()), calibrate(samples())
    assert first.sha256 == again.sha256
    assert first.sha256 != calibrate(samples()[:1]).sha256
    assert Calibration.model_validate_json(first.to_bytes()).to_bytes() == first.to_bytes()


def test_the_store_keeps_calibrations_and_checks_them(tmp_path: Path) -> None:
    store = Store(tmp_path)
    calibration = calibrate(samples())
    digest = store.add_calibration(calibration)
    assert store.calibration(digest) == calibration
    assert parse_codec(f"int4:static@{digest}", store).spec == f"int4:static@{digest}"
    with pytest.raises(NotFoundError, match="deploy it with the model"):
        store.calibration("0" * 12)
    for wrong in ("../../etc", "", "*", "XYZ"):
        with pytest.raises(SpecError, match="does not name a calibration"):
            store.calibration(wrong)
    path = tmp_path / "calibrations" / f"{calibration.sha256}.json"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(IntegrityError):
        store.calibration(digest)


def test_a_boundary_of_several_tensors_crosses_with_one_static_codec() -> None:
    wide, narrow = samples(4)[0], samples(2)[0]
    calibration = join_calibrations([calibrate([wide], tensor="wide"), calibrate([narrow], tensor="narrow")])
    known = KnownCalibrations([calibration])
    tensors = {"wide": wide, "narrow": narrow, "count": np.array([7])}
    frame = Frame.encode(pb.FrameHeader(), tensors, f"int8:static@{calibration.digest}+zstd", CodecContext(known))
    found = Frame.open(frame.seal()).decode(CodecContext(known))
    assert found["count"].tolist() == [7]
    for name in ("wide", "narrow"):
        spread = np.ptp(tensors[name], axis=(0, 2, 3), keepdims=True)
        assert (np.abs(found[name] - tensors[name]) <= spread / 500).all()
    with pytest.raises(SpecError, match="no calibrations here"):
        Frame.open(frame.seal()).decode()
    with pytest.raises(SpecError, match="has tensors wide, narrow, not 'other'"):
        Frame.encode(pb.FrameHeader(), {"other": wide}, f"int8:static@{calibration.digest}", CodecContext(known))


def test_joining_twice_the_same_tensor_is_refused() -> None:
    with pytest.raises(SpecError, match="different tensors"):
        join_calibrations([calibrate(samples()), calibrate(samples())])
