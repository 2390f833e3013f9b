"""`tercet bench codec-cnn`: what codecs cost in right answers, on a network that the bench trains itself."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

from tercet.codecs.codec import Float32Array
from tercet.errors import InputError
from tercet.models.card import ModelCard, OnnxFile, TensorInput
from tercet.models.store import Store, sha256_of
from tercet_cloud.bench.codec_rate import RateBench, RateReport, RateRow, measure_rates
from tercet_cloud.measurement.labelled_photos import PhotoSet
from tercet_cloud.training.small_cnn import LAYERS, SmallCnn, train_small_cnn

CODECS = ("raw", "int8", "int4", "top10%+int8", "int4+zstd:19", "klt:4:static@transform")
BOUNDARIES = tuple((f"block{index}",) for index in range(len(LAYERS)))
STEPS = 800
_CALIBRATION_IMAGES = 200
_TESTED_DIGITS = 450


@dataclass(frozen=True)
class Pictures:
    """Grey pictures (n, 1, H, W) float32 in -1 … 1 with labels (n,), for training and for testing."""

    name: str
    train_images: Float32Array
    train_labels: npt.NDArray[np.int64]
    test_images: Float32Array
    test_labels: npt.NDArray[np.int64]


def bench_codec_cnn(data: Path | None, as_json: bool, steps: int = STEPS) -> None:
    """Train, measure, print."""
    pictures = digits() if data is None else read_pictures(data)
    report = measure_cnn(pictures, steps, f"tercet bench codec-cnn{f' --data {data.name}' if data else ''}")
    if as_json:
        print(json.dumps(report.as_dict(), indent=2, ensure_ascii=False))
    else:
        _print(report, Console())


def measure_cnn(pictures: Pictures, steps: int, command: str) -> RateReport:
    """A trained network's rows for every block end and codec; labelled top-1 is over all test pictures."""
    classes = int(pictures.train_labels.max()) + 1
    network = train_small_cnn(pictures.train_images, pictures.train_labels, classes, steps=steps)
    onnx_bytes = cnn_onnx(network, pictures.train_images.shape[1:])
    card = ModelCard(
        name="small-cnn",
        task="classification",
        licence="Apache-2.0",
        onnx=OnnxFile(sha256=sha256_of(onnx_bytes), size_bytes=len(onnx_bytes)),
        input=TensorInput(),
        output="scores",
        labels=tuple(str(label) for label in range(classes)),
    )
    tested = PhotoSet(
        f"the {len(pictures.test_images):,} test pictures of {pictures.name}",
        pictures.test_images,
        tuple(pictures.test_labels.tolist()),
        len(pictures.test_images),
    )
    sample = pictures.train_images[:_CALIBRATION_IMAGES]
    calibration = PhotoSet(f"{len(sample)} of its training pictures", sample, None, len(sample))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        store.add_model(card, onnx_bytes)
        bench = RateBench(store, card, tested, calibration, BOUNDARIES, CODECS, baselines=())
        report = measure_rates(bench, command, lambda done, total: None)
    return replace(report, interval=report.interval.partition(";")[0])


def best_rows(report: RateReport) -> list[RateRow]:
    """Each codec at the boundary where most answers stay right; among equals, where it sends the fewest bytes."""
    rows: dict[str, RateRow] = {}
    for row in report.rows:
        best = rows.get(row.title)
        if best is None or _merit(row) > _merit(best):
            rows[row.title] = row
    return list(rows.values())


def _merit(row: RateRow) -> tuple[float, float]:
    return row.labelled_top1 or 0.0, -row.bytes_per_frame


def digits() -> Pictures:
    """scikit-learn's 1,797 handwritten digits, 8×8; the last quarter, written by other people, is for testing."""
    data = load_digits()
    images = (data.images[:, np.newaxis] / 8 - 1).astype(np.float32)
    labels = data.target.astype(np.int64)
    cut = len(images) - _TESTED_DIGITS
    return Pictures("scikit-learn's digits", images[:cut], labels[:cut], images[cut:], labels[cut:])


def read_pictures(path: Path) -> Pictures:
    """An .npz of train_images, train_labels, test_images, test_labels, images (n, H, W) uint8; else InputError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = [file[f"{part}_{kind}"] for part in ("train", "test") for kind in ("images", "labels")]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"--data {path}: not an .npz of train_images, train_labels, test_images, test_labels: {error}"
        ) from error
    for images, labels in (arrays[:2], arrays[2:]):
        if images.dtype != np.uint8 or images.ndim != 3 or labels.shape != images.shape[:1] or not len(images):
            raise InputError(f"--data {path}: images must be (n, H, W) uint8 with n labels")
    images = [(array[:, np.newaxis] / np.float32(127.5) - 1).astype(np.float32) for array in arrays[::2]]
    labels = [array.astype(np.int64) for array in arrays[1::2]]
    return Pictures(path.stem, images[0], labels[0], images[1], labels[1])


def cnn_onnx(network: SmallCnn, shape: tuple[int, ...]) -> bytes:
    """The network as ONNX: x → block0 → block1 → block2 → scores, batch free."""
    nodes, weights, current = [], {"last": network.last, "last_bias": network.last_bias}, "x"
    for index, (_, stride) in enumerate(LAYERS):
        weights |= {f"kernel{index}": network.kernels[index], f"bias{index}": network.biases[index]}
        inputs = [current, f"kernel{index}", f"bias{index}"]
        nodes.append(helper.make_node("Conv", inputs, [f"sum{index}"], pads=[1, 1, 1, 1], strides=[stride, stride]))
        current = f"block{index}"
        nodes.append(helper.make_node("Relu", [f"sum{index}"], [current]))
    nodes.append(helper.make_node("Flatten", [current], ["features"]))
    nodes.append(helper.make_node("Gemm", ["features", "last", "last_bias"], ["scores"]))
    graph = helper.make_graph(
        nodes,
        "small-cnn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", len(network.last_bias)])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _print(report: RateReport, console: Console) -> None:
    table = Table(title=f"Right answers lost, each codec at its best boundary; uncut {report.uncut_top1:.4f}")
    for heading in (
        "codec",
        "boundary",
        "shape",
        "bytes/frame",
        "× fewer",
        "right",
        "lost, points",
        "same as uncut",
    ):
        table.add_column(heading, justify="left" if heading in ("codec", "boundary") else "right")
    for row in best_rows(report):
        right = row.labelled_top1 or 0.0
        table.add_row(
            row.title,
            row.boundary,
            row.shape,
            f"{row.bytes_per_frame:,.0f}",
            f"{row.ratio:.1f}",
            f"{right:.4f}",
            f"{100 * ((report.uncut_top1 or 0.0) - right):+.2f}",
            f"{row.agreement:.4f}",
        )
    console.print(table)
    console.print(
        f"On {report.evaluation}; {report.machine}; {report.seconds:.0f} s after training; {report.command}"
    )
