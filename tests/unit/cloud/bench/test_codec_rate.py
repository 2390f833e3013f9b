"""`tercet bench codec` on a tiny classifier: rows that are true, refusals that say why, files that can be read."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from support.tiny_classifier import CLASSES, SIZE, tiny_classifier
from tercet.cli.main import run
from tercet.errors import InputError, SpecError
from tercet.models.card import ImageInput
from tercet.models.store import Store
from tercet_cloud.bench.codec_plot import render_plot
from tercet_cloud.bench.codec_rate import RateBench, RateReport, default_boundaries, measure_rates
from tercet_cloud.measurement.agreement import cosine, map_overlap, metric_for, same_label
from tercet_cloud.measurement.codec_menu import DEFAULT_MENU, IMAGE_BASELINES, check_menu
from tercet_cloud.measurement.labelled_photos import PhotoSet, demo_photos, folder_photos, labelled_photos
from tercet_cloud.models.graph import OnnxGraph

MENU = ("raw", "fp16", "int8:static@minmax", "klt:8:static@transform-weighted", "top10%+int8+zstd")


def noise_photos(count: int, seed: int) -> PhotoSet:
    """Inputs whose pixels are whole numbers, as photos' are."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 3, SIZE, SIZE))
    inputs = ((pixels - 127) / 128).astype(np.float32)
    return PhotoSet(f"{count} noises", inputs, tuple(index % CLASSES for index in range(count)), count)


def measure(store: Store, menu: tuple[str, ...] = MENU, **card: object) -> RateReport:
    bench = RateBench(
        store,
        tiny_classifier(store, **card),  # type: ignore[arg-type]
        evaluation=noise_photos(10, 1),
        calibration=noise_photos(12, 2),
        boundaries=(("low",), ("mid",)),
        menu=menu,
        baselines=IMAGE_BASELINES[:2],
    )
    return measure_rates(bench, "a command", lambda done, total: None)


def test_every_boundary_and_codec_has_a_true_row(tmp_path: Path) -> None:
    report = measure(Store(tmp_path))
    assert [(row.boundary, row.title) for row in report.rows] == [
        *(("x", baseline) for baseline in IMAGE_BASELINES[:2]),
        *((boundary, title) for boundary in ("low", "mid") for title in MENU),
    ]
    assert not report.refusals
    by_title = {row.title: row for row in report.rows if row.boundary == "low"}
    raw, half, eighth = (by_title[title] for title in MENU[:3])
    assert (raw.bytes_per_frame, raw.agreement, raw.ratio, raw.shape) == (1024, 1, 1, "4×8×8")
    assert raw.labelled_top1 == report.uncut_top1
    assert (half.bytes_per_frame, half.ratio) == (512, 2)
    assert (eighth.bytes_per_frame, eighth.calibration) == (256, "minmax")
    assert eighth.codec.startswith("int8:static@")
    assert all(0 <= row.agreement_low <= row.agreement <= row.agreement_high <= 1 for row in report.rows)
    assert all(row.overhead_bytes > 16 for row in report.rows)
    assert report.rows[0].agreement == 1  # PNG loses nothing
    shares = [row.share_before for row in report.rows]
    assert shares == sorted(shares)


def test_a_model_of_fixed_batch_gives_the_same_rows(tmp_path: Path) -> None:
    free, fixed = measure(Store(tmp_path / "a"), batch="n"), measure(Store(tmp_path / "b"), batch=1)
    for one, other in zip(free.rows, fixed.rows, strict=True):
        assert (one.bytes_per_frame, one.agreement) == (other.bytes_per_frame, other.agreement)


def test_a_codec_that_cannot_code_a_tensor_is_reported_and_the_others_are_measured(tmp_path: Path) -> None:
    report = measure(Store(tmp_path), ("int4:static@nonsense", "raw"))
    assert [(refusal.boundary, refusal.title) for refusal in report.refusals] == [
        ("low", "int4:static@nonsense"),
        ("mid", "int4:static@nonsense"),
    ]
    assert "unknown" in report.refusals[0].reason
    assert sum(row.title == "raw" for row in report.rows) == 2


@pytest.mark.parametrize("title", ["int9", "int8:static@0123456789ab", "klt:8"])
def test_a_codec_that_cannot_be_is_refused_before_anything_is_computed(title: str) -> None:
    with pytest.raises(SpecError):
        check_menu((*DEFAULT_MENU, title))


def test_boundaries_by_default_are_those_no_larger_than_any_before(tmp_path: Path) -> None:
    card = tiny_classifier(Store(tmp_path))
    found = default_boundaries(OnnxGraph(Store(tmp_path).model_bytes(card)))
    assert found == (("low",), ("row",))


def test_the_picture_is_xml_and_shows_every_point_that_is_good_enough(tmp_path: Path) -> None:
    report = measure(Store(tmp_path))
    picture = ElementTree.fromstring(render_plot(report))
    titles = picture.findall(".//{http://www.w3.org/2000/svg}title")
    assert len(titles) == sum(row.agreement >= 0.5 for row in report.rows)


def test_the_command_prints_json_and_writes_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, out, photos = tmp_path / "store", tmp_path / "out", tmp_path / "photos"
    tiny_classifier(Store(store))
    photos.mkdir()
    for label in range(3):
        pixels = np.random.default_rng(label).integers(0, 256, (24, 32, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"noise_{label}.png")
    arguments = ["bench", "codec", "tiny-classifier", "--store", str(store), "--out", str(out), "--json"]
    assert run([*arguments, "--photos", str(photos), "--boundary", "mid", "--codec", "int8"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "codec.json").read_text())
    assert printed["rows"][-1]["codec"] == "int8"
    assert "18 crops of 3 labelled photos" in printed["evaluation"]
    ElementTree.parse(out / "codec.svg")
    assert run([*arguments, "--boundary", "nowhere"]) != 0
    assert "no tensor 'nowhere'" in capsys.readouterr().err


CARD = ImageInput(tensor="x", size=SIZE, resize_shorter=SIZE, mean=(127.0,) * 3, std=(128.0,) * 3)


def test_labels_come_from_names_and_crops_are_the_same_every_time(tmp_path: Path) -> None:
    for name, colour in (("imagenet_00_3", 10), ("imagenet_01_1", 200), ("other", 90)):
        Image.new("RGB", (40, 30), (colour,) * 3).save(tmp_path / f"{name}.png")
    found = labelled_photos(tmp_path, CARD, CLASSES)
    assert found.labels == (3,) * 6 + (1,) * 6
    assert np.array_equal(found.inputs, labelled_photos(tmp_path, CARD, CLASSES).inputs)
    with pytest.raises(InputError, match="labels below 2"):
        labelled_photos(tmp_path, CARD, 2)
    with pytest.raises(InputError, match="cannot be listed"):
        labelled_photos(tmp_path / "nowhere", CARD, CLASSES)
    assert len(folder_photos(tmp_path, CARD)) == 18
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no photos"):
        folder_photos(tmp_path / "empty", CARD)


def test_parts_of_the_demo_photos_are_different_photos() -> None:
    first, second = (demo_photos(CARD, 1, part=part) for part in (slice(0, 4), slice(4, None)))
    assert (first.photos, second.photos) == (4, 3)
    assert not any(np.array_equal(one, other) for one in first.inputs for other in second.inputs)


def test_metrics_are_between_0_and_1_and_1_for_the_same(tmp_path: Path) -> None:
    scores, other = np.array([[0.1, 0.9, 0.4]]), np.array([[0.8, 0.1, 0.35]])
    for alike in (same_label, map_overlap, cosine):
        assert alike(scores, scores) == pytest.approx(1)
        assert 0 <= alike(scores, other) < 1
    assert map_overlap(scores, other) == pytest.approx(1 / 3)
    assert map_overlap(np.zeros(3), np.zeros(3)) == 1
    assert cosine(np.zeros(3), np.ones(3)) == 0
    counted = metric_for(tiny_classifier(Store(tmp_path)))
    agreement = counted.over([scores, scores], [scores, other])
    assert (agreement.mean, agreement.low > 0, agreement.high < 1) == (0.5, True, True)
    detection = metric_for(tiny_classifier(Store(tmp_path), task="detection"))
    assert detection.over([scores] * 3, [scores] * 3).mean == 1
