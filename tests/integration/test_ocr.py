"""The texts that Tercet reads are those of the package rapidocr, which has the same networks, in every picture."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from rapidocr import RapidOCR
from skimage import data

from support.plain_pipeline import PlainRuns
from support.shipped_pipelines import shipped_pipeline
from support.written_pictures import written
from tercet.models.store import Store
from tercet.steps.images import Pixels
from tercet_cloud.pipelines.ocr.networks import LineFinder
from tercet_cloud.pipelines.ocr.reader import TextReader
from tercet_cloud.pipelines.ocr.transcript import TextLine


def rgb(grey: Pixels) -> Pixels:
    return np.repeat(grey[..., np.newaxis], 3, axis=2)


def sizes() -> Pixels:
    words = [
        ("Ten pixels are few: 0123456789", 10, (12, 12)),
        ("Fourteen: the quick brown fox", 14, (12, 36)),
        ("Twenty, jumps over; (dogs)", 20, (12, 66)),
        ("Thirty-two & more", 32, (12, 104)),
        ("FIFTY", 50, (12, 154)),
    ]
    return written((340, 230), words)


def mono() -> Pixels:
    words = [("def f(x): return x**2", 16, (10, 10)), ("Total   EUR 1,234.50", 22, (10, 60))]
    return written((320, 240), words, mono=True, ink=(10, 60, 140), paper=(255, 240, 200))


def on_its_head() -> Pixels:
    words = [("Read me upside down", 26, (20, 20)), ("Second line 42", 26, (20, 80))]
    return np.ascontiguousarray(written((320, 240), words)[::-1, ::-1])


def slanted() -> Pixels:
    page = Image.fromarray(written((320, 240), [("Not quite level", 28, (40, 50)), ("at all", 28, (60, 110))]))
    return np.asarray(page.rotate(9, Image.Resampling.BICUBIC, fillcolor=(250, 248, 240)))


def standing() -> Pixels:
    page = written((240, 190), [("Runs upwards", 30, (20, 60))], ink=(255, 255, 255), paper=(30, 60, 40))
    return np.ascontiguousarray(np.rot90(page))


Lines = Callable[[str], list[TextLine]]
PICTURES: dict[str, Callable[[], Pixels]] = {
    "page": lambda: rgb(data.page()),
    "text": lambda: rgb(data.text()),
    "sizes": sizes,
    "mono": mono,
    "on its head": on_its_head,
    "slanted": slanted,
    "standing": standing,
}
BLANK: dict[str, Callable[[], Pixels]] = {"blank": lambda: np.full((64, 64, 3), 255, np.uint8)}
READABLE = {
    "sizes": ["Ten pixels are few: 0123456789", "Fourteen: the quick brown fox", "Thirty-two & more", "FIFTY"],
    "on its head": ["Second line 42", "Read me upside down"],
    "standing": ["Runs upwards"],
}


@pytest.fixture(scope="module")
def rapidocr() -> RapidOCR:
    return RapidOCR(params={"Global.log_level": "critical", "EngineConfig.onnxruntime.intra_op_num_threads": 1})


@pytest.fixture(scope="module")
def lines_of(packaged_store: Store) -> Lines:
    """What Tercet reads in a picture; each is read once."""
    reader = TextReader(packaged_store)
    return cache(lambda name: reader.read((PICTURES | BLANK)[name]()))


@pytest.mark.parametrize("name", PICTURES)
def test_texts_places_and_scores_are_rapidocrs(lines_of: Lines, rapidocr: RapidOCR, name: str) -> None:
    expected = rapidocr(PICTURES[name]()[..., ::-1])
    lines = lines_of(name)
    # `text` is handwriting, in which rapidocr reads nothing.
    assert (expected.txts is None) is (name == "text")
    if expected.txts is None:
        assert lines == []
        return
    assert [line["text"] for line in lines] == list(expected.txts)
    assert np.array_equal(np.array([line["corners"] for line in lines], np.float32), expected.boxes)
    assert np.allclose([line["score"] for line in lines], expected.scores, atol=1e-3)
    assert set(READABLE.get(name, [])) <= {line["text"] for line in lines}


def test_handwriting_that_nobody_reads_is_found_in_the_same_place(
    packaged_store: Store, rapidocr: RapidOCR
) -> None:
    part = rgb(data.text())[:, 224:]
    expected = rapidocr._load_det_model()(part[..., ::-1])
    found = LineFinder(packaged_store).find(part)
    assert np.array_equal(np.stack(found["corners"]), expected.boxes)


def test_a_blank_page_has_no_text(lines_of: Lines) -> None:
    assert lines_of("blank") == []


def file_of(picture: Pixels) -> bytes:
    file = BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("name", ["page", "on its head"])
def test_the_pipelines_text_is_the_readers(packaged_store: Store, lines_of: Lines, name: str) -> None:
    pipeline = shipped_pipeline("ocr", packaged_store)
    lines = lines_of(name)
    outputs, skipped = PlainRuns(packaged_store).run(pipeline, {"photo": file_of(PICTURES[name]())})
    assert not skipped
    assert outputs["text"] == "\n".join(line["text"] for line in lines)
    assert [line["text"] for line in outputs["lines"]] == [line["text"] for line in lines]
    assert [line["corners"] for line in outputs["lines"]] == [line["corners"] for line in lines]


def test_an_empty_frame_costs_nothing_beyond_the_look(packaged_store: Store) -> None:
    pipeline = shipped_pipeline("ocr", packaged_store)
    wall = np.clip(np.random.default_rng(2).normal(140, 6, (480, 640, 3)), 0, 255).astype(np.uint8)
    outputs, skipped = PlainRuns(packaged_store).run(pipeline, {"photo": file_of(wall)})
    assert outputs == {"content": {"empty": True, "busy_cells": 0}}
    assert skipped == set(pipeline.nodes) - {"look"}
