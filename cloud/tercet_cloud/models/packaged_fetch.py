"""Takes the models of `packaged_models` out of their packages and puts them into the store."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import onnx
from onnx import ModelProto

from tercet.errors import IntegrityError, MissingExtraError, NotFoundError, SpecError
from tercet.models.card import ModelCard, OnnxFile, TensorInput
from tercet.models.store import Store, sha256_of
from tercet_cloud.models.best_class import with_best_class
from tercet_cloud.models.packaged_models import PACKAGED_MODELS, PackagedModel

# A recogniser's first class says "no character here" (CTC); its last is the space, which its alphabet leaves out.
_NO_CHARACTER, _SPACE = "", " "


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
    if entry.best_class:
        source += "; answers the best class of every place"
    if (present := _present(store, name, source)) is not None:
        return present
    path = Path(str(package.locate_file(entry.file)))
    try:
        packaged = path.read_bytes()
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


def alphabet(model: ModelProto, key: str) -> tuple[str, ...]:
    """The characters a recogniser tells apart, in the order of its classes, from its metadata."""
    found = next((entry.value for entry in model.metadata_props if entry.key == key), None)
    if found is None:
        raise SpecError(f"the recogniser's metadata has no {key!r}: it does not say its alphabet")
    return (_NO_CHARACTER, *found.splitlines(), _SPACE)


def _made(entry: PackagedModel, packaged: bytes, source: str) -> tuple[ModelCard, bytes]:
    onnx_bytes, labels = packaged, entry.labels
    if entry.alphabet_key is not None:
        labels = alphabet(onnx.load_from_string(packaged), entry.alphabet_key)
    if entry.best_class:
        onnx_bytes = with_best_class(onnx.load_from_string(packaged)).SerializeToString(deterministic=True)
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
