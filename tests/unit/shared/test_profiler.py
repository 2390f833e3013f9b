"""A profile of a real cut model: complete, consistent with itself, and honest about emulation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from support.affine_chain import add_affine_chain
from support.tiny_model import tiny_deployment
from tercet.documents import read_document, write_document
from tercet.errors import IntegrityError, NotFoundError
from tercet.inference.interleaved import Effort, MeasuringStopped
from tercet.inference.profiler import Profiler, ProfileRequest
from tercet.models.manifest import Manifest
from tercet.models.store import Store
from tercet.profile import Profile
from tercet.tiers import Tier

REQUEST = ProfileRequest(Tier.EDGE, "edge-1", effort=Effort(0.1, 3, 20, 1))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def manifest(store: Store) -> Manifest:
    return store.manifest(tiny_deployment(store).model)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    store = Store(tmp_path_factory.mktemp("store"))
    return Profiler(store.manifest(tiny_deployment(store).model), store, REQUEST).measure().profile


def test_a_profile_says_what_was_measured_where_and_how(profile: Profile, manifest: Manifest) -> None:
    assert (profile.cut, profile.model_sha256) == (manifest.ref, manifest.model_sha256)
    assert (profile.tier, profile.node, profile.threads) == (Tier.EDGE, "edge-1", 1)
    assert profile.boundaries == (("x",), ("hidden",), ("squeezed",), ("scores",))
    assert profile.shapes == {"x": (1, 16)}
    assert profile.boundary_bytes == (64, 128, 32, 20)
    assert profile.runtime.startswith("onnxruntime ")
    assert profile.hardware.cores >= 1
    assert profile.memory.runtime_bytes > 0
    assert profile.memory.weights_bytes == sum(segment.size_bytes for segment in manifest.segments)
    assert profile.slowdown == 1


def test_what_is_predicted_is_the_sum_of_segments_and_sessions(profile: Profile) -> None:
    assert {(span.start, span.stop) for span in profile.spans} >= {(0, 3), (0, 1), (1, 3)}
    for span in profile.spans:
        own_ms = sum(segment.kernel_ms for segment in profile.segments[span.start : span.stop])
        assert span.predicted_ms == pytest.approx(own_ms + span.sessions * profile.session_ms, rel=0.01)
        assert span.measured_ms > 0


def test_a_profile_survives_its_file(profile: Profile, tmp_path: Path) -> None:
    write_document(profile, tmp_path / "profile.yaml")
    assert read_document(Profile, tmp_path / "profile.yaml") == profile


def test_an_emulated_slow_down_is_in_all_times_and_is_said(
    profile: Profile, store: Store, manifest: Manifest
) -> None:
    slowed = Profiler(manifest, store, replace(REQUEST, slowdown=1000.0)).measure().profile
    assert slowed.slowdown == 1000
    assert slowed.whole_ms > 20 * profile.whole_ms
    assert slowed.segments[0].ms > 20 * profile.segments[0].ms


def test_tensors_that_are_carried_past_segments_are_measured_too(store: Store) -> None:
    profile = Profiler(add_affine_chain(store), store, REQUEST).measure().profile
    assert profile.boundaries[1] == ("h", "note")
    assert profile.boundary_bytes == (20, 20, 20)


def test_further_probes_are_timed_in_the_same_rounds(store: Store, manifest: Manifest) -> None:
    found = Profiler(manifest, store, REQUEST).measure([lambda: None, lambda: sum(range(20_000))])
    assert found.probes_ms.shape == (2,)
    assert found.probes_ms[0] < found.probes_ms[1]


def test_measuring_can_be_called_off(store: Store, manifest: Manifest) -> None:
    with pytest.raises(MeasuringStopped):
        Profiler(manifest, store, REQUEST).measure(stopped=lambda: True)


def test_a_missing_segment_is_named(store: Store, manifest: Manifest) -> None:
    store.segment_path(manifest.segments[1].sha256).unlink()
    with pytest.raises(NotFoundError, match=manifest.segments[1].sha256):
        Profiler(manifest, store, REQUEST)


def test_an_altered_segment_is_never_measured(store: Store, manifest: Manifest) -> None:
    path = store.segment_path(manifest.segments[1].sha256)
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(IntegrityError):
        Profiler(manifest, store, REQUEST)


def test_progress_reaches_the_end(store: Store, manifest: Manifest) -> None:
    told: list[float] = []
    Profiler(manifest, store, REQUEST).measure(progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1
