"""`tercet models` as people use it, and the models it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import yaml

from support.onnx_models import SKIP, parse
from tercet.cli.main import run
from tercet.models.store import Store, sha256_of
from tercet.plans import read_deployment
from tercet.tiers import Tier
from tercet_cloud.models.catalog import CATALOG
from tercet_cloud.models.packaged_models import PACKAGED_MODELS

CLASSIFIER = """tiny (float[N, 3, 8, 8] image) => (float[N, 2] scores)
<float[2, 3, 1, 1] w = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}, int64[2] axes = {2, 3}> {
    wide = Conv(image, w)
    warm = Relu(wide)
    scores = ReduceSum <keepdims = 0> (warm, axes)
}"""

# Valid by its types, but it reads column 99 of 8.
OUT_OF_BOUNDS = """tiny (float[N, 3, 8, 8] image) => (float[N, 2] scores)
<int64[2] columns = {99, 99}, int64[2] axes = {1, 2}> {
    picked = Gather <axis = 3> (image, columns)
    scores = ReduceSum <keepdims = 0> (picked, axes)
}"""

# How many scores there are shows only when it runs.
THREE_SCORES = """tiny (float[N, 3, 8, 8] image) => (float[N, M] scores)
<bool[3] chosen = {1, 1, 1}> {
    flat = Flatten(image)
    scores = Compress <axis = 1> (flat, chosen)
}"""


def image_input(**changes: object) -> dict[str, object]:
    declared = {"kind": "image", "tensor": "image", "size": 8, "resize_shorter": 8, "mean": [0] * 3, "std": [1] * 3}
    return declared | changes


def card_of(onnx_bytes: bytes, **changes: object) -> dict[str, object]:
    card: dict[str, object] = {
        "name": "tiny",
        "task": "classification",
        "licence": "MIT",
        "onnx": {"file": "tiny.onnx", "sha256": sha256_of(onnx_bytes), "size_bytes": len(onnx_bytes)},
        "input": image_input(),
        "output": "scores",
        "labels": ["cold", "warm"],
    }
    return {key: value for key, value in (card | changes).items() if value is not None}


def write_model(folder: Path, onnx_bytes: bytes, **changes: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "tiny.onnx").write_bytes(onnx_bytes)
    (folder / "model.yaml").write_text(yaml.safe_dump(card_of(onnx_bytes, **changes)), encoding="utf-8")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def tiny_store(tmp_path: Path, store: Store) -> Store:
    assert (
        run(["models", "add", str(write_model(tmp_path / "tiny", parse(CLASSIFIER))), "--store", str(store.root)])
        == 0
    )
    return store


@pytest.mark.parametrize("given", ["folder", "onnx"])
def test_a_good_model_is_added_by_folder_or_file(tmp_path: Path, store: Store, given: str) -> None:
    onnx_bytes = parse(CLASSIFIER)
    folder = write_model(tmp_path / "tiny", onnx_bytes)
    path = folder if given == "folder" else folder / "tiny.onnx"
    assert run(["models", "add", str(path), "--store", str(store.root)]) == 0
    assert store.model_bytes(store.card("tiny")) == onnx_bytes


def invalid_onnx() -> bytes:
    model = onnx.load_model_from_string(parse(CLASSIFIER))
    model.graph.node[1].op_type = "Relu2"
    data: bytes = model.SerializeToString()
    return data


def unloadable_onnx() -> bytes:
    model = onnx.load_model_from_string(parse(CLASSIFIER))
    model.opset_import.add(domain="nowhere", version=1)
    model.graph.node[1].domain = "nowhere"
    data: bytes = model.SerializeToString()
    return data


@pytest.mark.parametrize(
    ("onnx_bytes", "changes", "reason"),
    [
        (parse(CLASSIFIER), {"licence": None}, "licence: Field required"),
        (parse(CLASSIFIER), {"colour": "red"}, "colour: unknown key"),
        (parse(CLASSIFIER), {"labels": None}, "a classification model needs labels"),
        (parse(CLASSIFIER), {"labels": ["cold", "warm", "hot"]}, "has 3 labels, but 'scores' is float32 ?×2"),
        (parse(CLASSIFIER), {"output": "logits"}, "names output 'logits', but the model gives scores"),
        (
            parse(CLASSIFIER),
            {"input": image_input(tensor="x")},
            "feeds the image to 'x', but the model's inputs are image",
        ),
        (
            parse(CLASSIFIER),
            {"input": image_input(size=6)},
            "gives 'image' float32 1×3×6×6, but the model takes float32 ?×3×8×8",
        ),
        (
            parse(CLASSIFIER),
            {"onnx": {"file": "tiny.onnx", "sha256": "0" * 64, "size_bytes": 1}},
            "is for another file (sha256 000000000000…",
        ),
        (parse(OUT_OF_BOUNDS), {}, "fails on a blank image"),
        (parse(THREE_SCORES), {}, "gives 3 scores for an image, but its card has 2 labels"),
        (b"no model at all", {}, "not an ONNX file"),
        (invalid_onnx(), {}, "is not valid ONNX"),
        (unloadable_onnx(), {"task": "other"}, "ONNX Runtime cannot load this model"),
        (parse(CLASSIFIER), {"onnx": {"file": "gone.onnx", "sha256": "0" * 64, "size_bytes": 1}}, "gone.onnx"),
    ],
)
def test_a_bad_model_is_refused_with_the_reason_in_one_line(
    tmp_path: Path,
    store: Store,
    onnx_bytes: bytes,
    changes: dict[str, object],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = write_model(tmp_path / "tiny", onnx_bytes, **changes)
    status = run(["models", "add", str(folder), "--store", str(store.root)])
    captured = capsys.readouterr()
    assert status in (65, 66)
    assert reason in captured.err
    assert captured.err.startswith("tercet: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not list(store.model_names())


def test_a_missing_card_or_file_is_named(tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    lonely = tmp_path / "lonely.onnx"
    lonely.write_bytes(parse(CLASSIFIER))
    assert run(["models", "add", str(lonely), "--store", str(store.root)]) == 66
    assert "has no model.yaml" in capsys.readouterr().err
    assert run(["models", "add", str(tmp_path / "nowhere"), "--store", str(store.root)]) == 66
    assert "no such file or folder" in capsys.readouterr().err


def test_a_model_of_plain_tensors_needs_no_image(tmp_path: Path, store: Store) -> None:
    changes = {"input": {"kind": "tensor"}, "task": "other", "labels": None, "output": "y"}
    folder = write_model(tmp_path / "skip", parse(SKIP), **changes)
    assert run(["models", "add", str(folder), "--store", str(store.root)]) == 0


def test_list_names_what_is_here_and_what_can_be_fetched(
    tiny_store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["models", "list", "--json", "--store", str(tiny_store.root)]) == 0
    rows = {row["name"]: row["installed"] for row in json.loads(capsys.readouterr().out)}
    assert rows == dict.fromkeys((*CATALOG, *PACKAGED_MODELS), False) | {"tiny": True}
    assert run(["models", "list", "--store", str(tiny_store.root)]) == 0
    assert "tiny" in capsys.readouterr().out


def test_show_lists_boundaries_with_bytes_and_compute(
    tiny_store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["models", "show", "tiny", "--store", str(tiny_store.root)]) == 0
    shown = capsys.readouterr().out
    assert "wide" in shown
    assert "?×2×8×8" in shown
    assert "512" in shown  # 2 × 8 × 8 float32
    assert "100.0%" in shown


def test_slice_prints_the_reference_and_writes_a_deployment(
    model_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "deployment.yaml"
    arguments = ["--at", "block04", "--at", "block10", "--codec", "raw", "--codec", "int8", "--output", str(output)]
    assert run(["models", "slice", "efficientnet-lite0", *arguments, "--store", str(model_store.root)]) == 0
    ref = capsys.readouterr().out.strip()
    deployment = read_deployment(output)
    assert deployment.model == ref
    assert [plan.id for plan in deployment.plans] == ["raw", "int8"]
    manifest = model_store.manifest(deployment.model)
    plan = deployment.plan("int8")
    assert [list(plan.segments(tier, manifest)) for tier in Tier] == [[0], [1], [2]]
    assert plan.codecs.edge_cloud == "int8"
    for segment in manifest.segments:
        assert len(model_store.segment_bytes(segment)) == segment.size_bytes


@pytest.mark.parametrize(("tier", "segments"), [("cloud", [[0], [], [1]]), ("edge", [[0], [1], []])])
def test_with_one_boundary_the_second_tier_is_chosen(
    tiny_store: Store, tmp_path: Path, tier: str, segments: list[list[int]]
) -> None:
    output = tmp_path / "deployment.yaml"
    arguments = ["--at", "warm", "--second-tier", tier, "--output", str(output), "--store", str(tiny_store.root)]
    assert run(["models", "slice", "tiny", *arguments]) == 0
    deployment = read_deployment(output)
    manifest = tiny_store.manifest(deployment.model)
    assert [list(deployment.plans[0].segments(tier, manifest)) for tier in Tier] == segments


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["fetch", "resnet50"], 66, "cannot be fetched; there are efficientnet-lite0"),
        (["fetch"], 2, "Missing argument 'NAME'"),
        (["show", "ghost"], 66, "run `tercet models fetch ghost`"),
        (["slice", "tiny"], 2, "Missing option '--at'"),
        (["slice", "tiny", "--at", "nope"], 65, "no tensor 'nope'"),
        (["slice", "tiny", "--at", "wide,"], 65, "names of different tensors"),
        (["slice", "tiny", "--at", "warm", "--at", "wide"], 65, "must follow the data"),
        (["slice", "tiny", "--at", "wide", "--codec", "mp3"], 65, "'mp3' is unknown here"),
        (["slice", "tiny", "--at", "wide", "--codec", "raw", "--codec", "raw"], 65, "same codec twice"),
        (["slice", "tiny", "--at", "wide,warm"], 65, "used up"),
    ],
)
def test_a_mistake_gets_one_line_and_a_status(
    tiny_store: Store, arguments: list[str], status: int, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["models", *arguments, "--store", str(tiny_store.root)]) == status
    captured = capsys.readouterr()
    assert reason in captured.err
    assert captured.out == ""


def test_a_damaged_store_is_noticed(tiny_store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny_store.root / "models" / "tiny" / "tiny.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    assert run(["models", "slice", "tiny", "--at", "wide", "--store", str(tiny_store.root)]) == 65
    assert "does not have the content it is named for" in capsys.readouterr().err


def test_the_store_comes_from_the_environment(
    tiny_store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERCET_MODELS_STORE", str(tiny_store.root))
    assert run(["models", "show", "tiny"]) == 0
    monkeypatch.setenv("TERCET_MODELS_STOER", "x")
    assert run(["models", "show", "tiny"]) == 78
    assert "TERCET_MODELS_STOER is not a setting" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "fetch", "add", "show", "slice"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", command, "--help"]) == 0
    assert "--store" in capsys.readouterr().out


def test_fetch_again_exports_only_what_is_damaged_or_missing(
    model_store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = model_store.root / "models" / "efficientnet-lite0"
    before = (folder / "model.onnx").stat().st_ino
    assert run(["models", "fetch", "efficientnet-lite0", "--store", str(model_store.root)]) == 0
    assert (folder / "model.onnx").stat().st_ino == before
    assert capsys.readouterr().out.strip() == str(folder / "model.yaml")
    good = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(good[:-1])
    assert run(["models", "fetch", "efficientnet-lite0", "--store", str(model_store.root)]) == 0
    assert (folder / "model.onnx").read_bytes() == good
