"""The coding table says what really crosses the wire, and leaves out what cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.coding_samples import MENU, graph_of, noise_samples
from support.onnx_models import parse
from support.tiny_classifier import tiny_classifier
from tercet.codecs import BARE, CodecContext
from tercet.codecs.codec import Array
from tercet.errors import SpecError
from tercet.models.card import ModelCard, OnnxFile, TensorInput
from tercet.models.store import Store, sha256_of
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Frame
from tercet_cloud.measurement.sample_frames import FrameSet, SampleFrames
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.measuring.coding_bench import CodingBench
from tercet_cloud.planner.measuring.coding_measurement import coding_table, measure_coding
from tercet_cloud.planner.measuring.coding_table import CodingTable, MenuCodec, TensorCoding
from tercet_cloud.planner.measuring.inside_view import InsideView, crossing_tensors
from tercet_cloud.planner.measuring.measurement_cache import MeasurementCache
from tercet_cloud.planner.measuring.narrow_calibration import narrowed_spec

ODD = """odd (float[N, 4] x, float[K, 4] rows) => (float[N, 4] y, int64[N, 4] places)
<int64 one = {1}> {
    places = Cast <to = 7> (x)
    half = Cast <to = 10> (x)
    many = SequenceConstruct(x, x)
    first = SequenceAt(many, one)
    brain = Cast <to = 16> (x)
    wide = Cast <to = 1> (brain)
    huge = Exp(wide)
    back = Cast <to = 1> (half)
    a = Add(back, first)
    b = Mul(a, huge)
    less = ReduceSum <keepdims = 1> (rows)
    y = Add(b, less)
}"""


def put_odd(store: Store) -> tuple[ModelCard, OnnxGraph, SampleFrames]:
    data = parse(ODD)
    card = ModelCard(
        name="odd",
        task="other",
        licence="Apache-2.0",
        onnx=OnnxFile(sha256=sha256_of(data), size_bytes=len(data)),
        input=TensorInput(),
        output="y",
    )
    store.add_model(card, data)
    frame = {"x": np.array([[0, 1, 2, 80]], np.float32), "rows": np.ones((3, 4), np.float32)}
    frames = FrameSet("some", (frame,) * 3)
    return card, OnnxGraph(data), SampleFrames(frames, frames)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, OnnxGraph, CodingTable]:
    store = Store(tmp_path_factory.mktemp("store"))
    card = tiny_classifier(store)
    graph = graph_of(store, card)
    return store, graph, measure_coding(store, card, graph, noise_samples(), MENU)


def test_every_tensor_that_flows_has_an_entry_a_codec(measured: tuple[Store, OnnxGraph, CodingTable]) -> None:
    _, _, table = measured
    assert [codec.title for codec in table.codecs] == [
        "raw",
        "fp16",
        "int8+zstd",
        "klt:8",
        "int4",
        "png",
        "jpeg:85",
    ]
    assert list(table.tensors) == ["x", "wide", "low", "narrow", "mid", "row", "scores"]
    assert [codec.title for codec in table.codecs if codec.lossless] == ["raw", "png"]
    assert [codec.title for codec in table.codecs if codec.image] == ["png", "jpeg:85"]
    assert (table.frames, table.samples) == (8, "8 of 24 noises")


def test_photo_codecs_are_for_the_input_alone(measured: tuple[Store, OnnxGraph, CodingTable]) -> None:
    _, _, table = measured
    for name, entries in table.tensors.items():
        assert all((entries[table.index(title)] is not None) == (name == "x") for title in ("png", "jpeg:85"))


def test_static_codecs_are_fitted_where_one_tensor_crosses_and_is_no_larger_than_the_input(
    measured: tuple[Store, OnnxGraph, CodingTable],
) -> None:
    _, _, table = measured
    fitted = [name for name, entries in table.tensors.items() if entries[table.index("klt:8")] is not None]
    assert fitted == ["wide", "low", "narrow", "mid"]


def test_the_bytes_are_what_tensors_add_to_a_sealed_frame(measured: tuple[Store, OnnxGraph, CodingTable]) -> None:
    store, graph, table = measured
    frames = noise_samples().evaluation.frames[::3]
    view = InsideView(graph, crossing_tensors(graph))
    context = CodecContext(store, image=store.card("tiny-classifier").input)  # type: ignore[arg-type]
    for name in ("x", "low", "mid"):
        for codec, entry in zip(table.codecs, table.tensors[name], strict=True):
            if entry is None:
                continue
            header = pb.FrameHeader(model="m")
            empty = len(Frame.encode(header, {}, "raw").seal())
            sizes = [
                len(Frame.encode(header, {name: view.run(frame)[name]}, codec.spec, context).seal()) - empty
                for frame in frames
            ]
            assert entry.bytes == pytest.approx(np.mean(sizes), abs=0.1), (name, codec.title)


def test_one_specification_serves_every_boundary_and_a_narrow_one_gives_the_same_bytes(
    measured: tuple[Store, OnnxGraph, CodingTable],
) -> None:
    store, graph, table = measured
    spec = table.codec("klt:8").spec
    frame = InsideView(graph, ("low", "mid")).run(noise_samples().evaluation.frames[0])
    narrow = narrowed_spec(store, spec, ["mid", "row"])
    assert narrow != spec
    assert narrowed_spec(store, spec, ["scores"]) == spec
    assert narrowed_spec(store, "int8+zstd", ["mid"]) == "int8+zstd"
    context = CodecContext(store)
    for name, array in frame.items():
        back = context.codec(spec, name).decode(context.codec(spec, name).encode(array), array.dtype, array.shape)
        assert np.square(back - array).mean() < 0.02 * array.var()
    one, other = (context.codec(found, "mid").encode(frame["mid"]) for found in (spec, narrow))
    assert bytes(one.payload) == bytes(other.payload)
    assert [part.tensor for part in store.calibration(narrow.partition("@")[2]).tensors] == ["mid"]
    with pytest.raises(SpecError, match="another boundary"):
        context.codec(narrow, "low")


def test_what_cannot_cross_is_left_out_and_what_is_not_float32_travels_raw(tmp_path: Path) -> None:
    store = Store(tmp_path)
    card, graph, samples = put_odd(store)
    table = measure_coding(
        store, card, graph, samples, ("raw", "fp16", "int8", "jpeg:85", "klt:4:static@transform")
    )
    # Neither the sequence nor bfloat16.
    assert {"many", "brain"}.isdisjoint(table.tensors)
    assert {"x", "rows", "half", "places", "back", "a", "y"} <= table.tensors.keys()
    # No photos here, and nothing to fit klt for.
    assert [codec.title for codec in table.codecs] == ["raw", "fp16", "int8"]
    raw, half, eighth = table.tensors["places"]
    assert raw == half == eighth
    assert raw is not None
    assert raw.bytes > 32
    # exp(80) is no float16.
    assert table.tensors["huge"][1] is None
    assert table.tensors["huge"][2] is not None


def test_a_thorough_entropy_coder_is_left_out_for_large_tensors(tmp_path: Path) -> None:
    store = Store(tmp_path)
    card, graph, _ = put_odd(store)
    large = {"x": np.zeros((1, 4), np.float32), "rows": np.ones((1 << 18, 4), np.float32)}
    frames = FrameSet("large", (large,))
    table = measure_coding(store, card, graph, SampleFrames(frames, frames), ("raw", "raw+zstd:19", "raw+zstd"))
    assert [entry is None for entry in table.tensors["rows"]] == [False, True, False]
    assert table.tensors["x"][1] is not None


def test_an_answer_holds_all_outputs_raw(measured: tuple[Store, OnnxGraph, CodingTable]) -> None:
    _, _, table = measured
    raw = table.tensors["scores"][0]
    assert raw is not None
    assert raw.bytes + 16 < table.answer_bytes < raw.bytes + 400
    assert 16 < table.header_bytes < 150


def test_a_codec_that_is_none_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    store = Store(tmp_path)
    card = tiny_classifier(store)
    with pytest.raises(SpecError, match="int99"):
        measure_coding(store, card, graph_of(store, card), noise_samples(), ("raw", "int99"))


def test_a_second_table_is_the_kept_one_until_something_it_depends_on_changes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    card = tiny_classifier(store)
    graph = graph_of(store, card)
    runs: list[int] = []

    def table(menu: tuple[str, ...] = MENU[:4], count: int = 24, *, refresh: bool = False) -> CodingTable:
        cache = MeasurementCache(tmp_path / "kept", refresh)
        return coding_table(
            store, card, graph, noise_samples(count=count), menu, lambda done, total: runs.append(done), cache=cache
        )

    first = table()
    steps = len(runs)
    assert table() == first
    assert len(runs) == steps
    for again in (
        lambda: table(MENU[:3]),
        lambda: table(count=25),
        lambda: table(refresh=True),
    ):
        before = len(runs)
        again()
        assert len(runs) > before


@pytest.mark.parametrize("damage", ["calibration", "document"])
def test_a_kept_table_that_is_damaged_or_lacks_its_calibration_is_measured_again(
    tmp_path: Path, damage: str
) -> None:
    store = Store(tmp_path)
    card = tiny_classifier(store)
    graph = graph_of(store, card)
    first = coding_table(store, card, graph, noise_samples(), MENU[:4])
    pattern = "calibrations/*.json" if damage == "calibration" else "measurements/*.json"
    for path in tmp_path.glob(pattern):
        path.write_bytes(b"{}")
    second = coding_table(store, card, graph, noise_samples(), MENU[:4])
    assert second.codecs == first.codecs
    assert store.calibration(second.codec("klt:8").spec.partition("@")[2])


def test_codecs_are_timed_right_after_computing_as_well() -> None:
    tensors: dict[str, Array] = {"small": np.zeros((1, 8), np.float32), "large": np.ones((1, 64), np.float32)}
    codecs = (MenuCodec(title="raw", spec="raw", lossless=True), MenuCodec(title="int8", spec="int8"))

    def entries(computed: list[int] | None) -> dict[str, tuple[TensorCoding | None, ...]]:
        bench = CodingBench(codecs, BARE, None)
        bench.code(tensors)
        if computed is not None:
            bench.code_cold(tensors, lambda: computed.append(1))
        return bench.table()

    computed: list[int] = []
    warm, cold = entries(None), entries(computed)
    assert len(computed) > 2 * len(codecs)
    for name, found in cold.items():
        assert [entry.bytes for entry in found if entry] == [entry.bytes for entry in warm[name] if entry]
