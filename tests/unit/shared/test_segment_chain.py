"""The chain gives what the uncut model gives, and takes and runs only what its manifest vouches for."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from support.affine_chain import HEAD, TAIL, WHOLE, add_affine_chain, onnx_bytes, segment
from tercet.codecs.codec import Array
from tercet.errors import IntegrityError, NotFoundError, SpecError, TensorContractError
from tercet.inference.segment_chain import SegmentChain, open_session
from tercet.models.manifest import Manifest
from tercet.models.store import Store
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Frame


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def chain(store: Store) -> SegmentChain:
    return SegmentChain(add_affine_chain(store), store)


def inputs(rows: int = 2) -> dict[str, Array]:
    generator = np.random.default_rng(rows)
    return {
        "x": generator.standard_normal((rows, 3)).astype(np.float32),
        "note": np.arange(rows, dtype=np.int64).reshape(rows, 1),
    }


def reference(tensors: dict[str, Array]) -> dict[str, Array]:
    session = ort.InferenceSession(onnx_bytes(WHOLE), providers=["CPUExecutionProvider"])
    return dict(zip(["y", "seen"], session.run(["y", "seen"], tensors), strict=True))


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_the_chain_equals_the_uncut_model(chain: SegmentChain, rows: int) -> None:
    found = chain.run(inputs(rows), 0, 2)
    for name, expected in reference(inputs(rows)).items():
        assert np.array_equal(found[name], expected)


def test_running_in_two_steps_equals_running_in_one(chain: SegmentChain) -> None:
    middle = chain.run(inputs(), 0, 1)
    assert list(middle) == ["h", "note"]
    there = chain.run(middle, 1, 2)
    for name, expected in chain.run(inputs(), 0, 2).items():
        assert np.array_equal(there[name], expected)


def test_a_tensor_no_segment_makes_is_carried_past_untouched(chain: SegmentChain) -> None:
    given = inputs()
    assert chain.run(given, 0, 1)["note"] is given["note"]


def test_running_nothing_gives_the_boundary_itself(chain: SegmentChain) -> None:
    given = inputs()
    assert chain.run(given, 0, 0) == given


def test_inputs_are_never_modified(chain: SegmentChain) -> None:
    given = inputs()
    before = {name: array.tobytes() for name, array in given.items()}
    for array in given.values():
        array.flags.writeable = False
    chain.run(given, 0, 2)
    assert {name: array.tobytes() for name, array in given.items()} == before


def test_views_into_a_received_frame_run_as_they_are(chain: SegmentChain) -> None:
    """Raw payloads lie wherever the header ends, on an odd address too."""
    for padding in range(8):
        header = pb.FrameHeader(node="n" * padding)
        received = Frame.open(Frame.encode(header, inputs(), "raw").seal()).decode()
        assert np.array_equal(chain.run(received, 0, 2)["y"], chain.run(inputs(), 0, 2)["y"])


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (1, 0), (0, 3), (3, 3), (2**32 - 1, 2)])
def test_boundaries_that_are_not_there_are_refused(chain: SegmentChain, start: int, stop: int) -> None:
    with pytest.raises(SpecError, match="has boundaries 0 to 2"):
        chain.run(inputs(), start, stop)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": None}, r"has tensors \['note', 'x'\], not \['note'\]"),
        ({"extra": np.zeros(1, np.float32)}, r"not \['extra', 'note', 'x'\]"),
        ({"x": np.zeros((2, 3), np.float64)}, r"'x' is float64 \(2, 3\), expected float32 \?×3"),
        ({"x": np.zeros((2, 3), ">f4")}, "'x' is >f4"),
        ({"x": np.zeros((2, 4), np.float32)}, r"'x' is float32 \(2, 4\), expected float32 \?×3"),
        ({"x": np.zeros((3,), np.float32)}, r"'x' is float32 \(3,\)"),
        ({"note": np.zeros((2, 1), np.int32)}, r"'note' is int32"),
    ],
)
def test_tensors_that_are_not_the_boundarys_are_refused_by_name(
    chain: SegmentChain, change: dict[str, Array | None], message: str
) -> None:
    given = {name: array for name, array in {**inputs(), **change}.items() if array is not None}
    with pytest.raises(TensorContractError, match=message):
        chain.run(given, 0, 2)


def test_a_segment_that_was_tampered_with_never_runs(chain: SegmentChain, store: Store) -> None:
    """Even if what lies there now is a valid model with the same inputs and outputs."""
    path = store.segment_path(chain.manifest.segments[0].sha256)
    path.write_bytes(onnx_bytes(HEAD.replace("{1.0}", "{9.0}")))
    for _ in range(2):
        with pytest.raises(IntegrityError, match="does not have the content it is named for"):
            chain.run(inputs(), 0, 2)


def test_a_missing_segment_is_named_before_the_first_frame(chain: SegmentChain, store: Store) -> None:
    path = store.segment_path(chain.manifest.segments[1].sha256)
    path.unlink()
    chain.load([0])
    with pytest.raises(NotFoundError, match=path.name):
        chain.load([0, 1])


def test_a_segment_unlike_its_manifest_is_refused_when_it_is_loaded(store: Store) -> None:
    manifest = add_affine_chain(store)
    swapped = manifest.model_copy(
        update={"segments": (segment(onnx_bytes(TAIL), ("x",), ("h",)), manifest.segments[1])}
    )
    with pytest.raises(SpecError, match=r"segment 0 turns \['h', 'note'\] into \['seen', 'y'\]"):
        SegmentChain(swapped, store).load([0])


def test_bytes_that_are_no_model_are_refused_in_one_line(store: Store) -> None:
    for data in (b"", b"not a model", onnx_bytes(WHOLE)[:-20]):
        with pytest.raises(SpecError, match="ONNX Runtime cannot load this model") as caught:
            open_session(data, 1, ["CPUExecutionProvider"])
        assert "\n" not in str(caught.value)


def test_a_provider_that_is_not_here_is_refused_not_replaced(store: Store) -> None:
    with pytest.raises(SpecError, match=r"no Nosuch; it has .*CPUExecutionProvider"):
        SegmentChain(add_affine_chain(store), store, providers=["Nosuch", "CPUExecutionProvider"])


class CountingStore(Store):
    """Counts how often segments are read."""

    reads = 0

    def segment_bytes(self, segment: object) -> bytes:
        self.reads += 1
        return super().segment_bytes(segment)  # type: ignore[arg-type]


def test_many_threads_load_each_segment_once_and_all_get_the_answer(tmp_path: Path) -> None:
    store = CountingStore(tmp_path)
    manifest: Manifest = add_affine_chain(store)
    chain = SegmentChain(manifest, store)
    expected = reference(inputs())["y"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: chain.run(inputs(), 0, 2)["y"], range(64)))
    assert all(np.array_equal(answer, expected) for answer in answers)
    assert store.reads == 2


def test_a_slowed_chain_gives_the_same_and_sleeps_in_between(store: Store) -> None:
    slow = SegmentChain(add_affine_chain(store), store, slowdown=500)
    slow.load([0, 1])
    wall_s, processor_s = time.perf_counter(), time.thread_time()
    found = slow.run(inputs(), 0, 2)
    wall_s, processor_s = time.perf_counter() - wall_s, time.thread_time() - processor_s
    assert np.array_equal(found["y"], reference(inputs())["y"])
    assert wall_s > 20 * processor_s


def test_a_slowdown_below_one_is_refused(store: Store) -> None:
    with pytest.raises(SpecError, match="slow-down is 1 to 1000"):
        SegmentChain(add_affine_chain(store), store, slowdown=0.5)
