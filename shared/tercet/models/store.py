"""Where models lie on disk: cards by name; segments, manifests and calibrations by content.

    ROOT/models/NAME/model.yaml, model.onnx
    ROOT/manifests/SHA256.json
    ROOT/segments/SHA256.onnx
    ROOT/calibrations/SHA256.json
    ROOT/planning/MANIFEST_SHA256.json    block costs, by the manifest whose blocks they price

Everything read by content address is hashed before it is used; writes are atomic.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from tercet.block_costs import BlockCosts
from tercet.codecs.calibration import Calibration
from tercet.documents import parse_document, read_document, write_atomically, write_document
from tercet.errors import IntegrityError, NotFoundError, SpecError
from tercet.identifiers import ModelRef, check_name
from tercet.models.card import ModelCard
from tercet.models.manifest import Manifest, Segment

# Expanded when a Store is made, not at import.
DEFAULT_STORE = Path("~/.local/share/tercet")
_HEX = frozenset("0123456789abcdef")


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


AddressedT = TypeVar("AddressedT", Manifest, Calibration)


class Store:
    """One directory of models. Safe for many readers and one writer."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser()

    # --- models by name

    def model_names(self) -> Iterator[str]:
        """Names with a card, sorted."""
        return (card.parent.name for card in sorted((self.root / "models").glob("*/model.yaml")))

    def card_path(self, name: str) -> Path:
        """Where the card of this name lies, or would."""
        return self._model_dir(name) / "model.yaml"

    def card(self, name: str) -> ModelCard:
        path = self.card_path(name)
        if not path.exists():
            known = ", ".join(self.model_names()) or "none"
            raise NotFoundError(
                f"model {name!r} is not in {self.root} (there: {known}); run `tercet models fetch {name}`"
            )
        card = read_document(ModelCard, path)
        if card.name != name:
            raise SpecError(f"{path} is the card of {card.name!r}: it must lie in models/{card.name}")
        return card

    def model_bytes(self, card: ModelCard) -> bytes:
        """The model's ONNX file, checked against its card."""
        return self._verified(self._model_dir(card.name) / card.onnx.file, card.onnx.sha256)

    def add_model(self, card: ModelCard, onnx_bytes: bytes) -> None:
        """Write model, then card. The card's sha256 must be the file's."""
        if sha256_of(onnx_bytes) != card.onnx.sha256:
            raise IntegrityError(f"the card of {card.name} names another ONNX file than the one given")
        write_atomically(self._model_dir(card.name) / card.onnx.file, onnx_bytes)
        write_document(card, self.card_path(card.name))

    # --- manifests and segments by content

    def add_segment(self, onnx_bytes: bytes) -> str:
        """Write a segment; returns its address."""
        address = sha256_of(onnx_bytes)
        path = self.segment_path(address)
        if not path.exists():
            write_atomically(path, onnx_bytes)
        return address

    def segment_path(self, address: str) -> Path:
        """Where the segment of this address lies, or would. SpecError for what is not a sha256."""
        if len(address) != 64 or set(address) - _HEX:
            raise SpecError(f"{address!r} is not a sha256 in lower-case hex")
        return self.root / "segments" / f"{address}.onnx"

    def segment_bytes(self, segment: Segment) -> bytes:
        """A segment's ONNX file. Raises NotFoundError, or IntegrityError if its content is not its name."""
        return self._verified(self.segment_path(segment.sha256), segment.sha256)

    def add_manifest(self, manifest: Manifest) -> None:
        write_atomically(self.root / "manifests" / f"{manifest.sha256}.json", manifest.to_bytes())

    def manifest(self, ref: ModelRef) -> Manifest:
        """The manifest a frame or deployment names."""
        name, _, digest = ref.partition("@")
        if not digest or set(digest) - _HEX:
            raise SpecError(f"{ref!r} is not NAME@DIGEST, as `tercet models slice` prints it")
        manifest = self._addressed(
            Manifest, "manifests", digest, f"cut model {ref!r}", f"run `tercet models slice {name}`"
        )
        if manifest.model != name:
            raise SpecError(f"{ref!r}: that manifest is of model {manifest.model}")
        return manifest

    def manifests(self, model: str) -> Iterator[Manifest]:
        """The manifests of a model, by address; what cannot be read or is altered is passed over."""
        for path in sorted((self.root / "manifests").glob("*.json")):
            try:
                manifest = parse_document(Manifest, json.loads(self._verified(path, path.stem)), str(path))
            except (NotFoundError, IntegrityError, SpecError, ValueError):
                continue
            if manifest.model == model:
                yield manifest

    # --- calibrations by content

    def add_calibration(self, calibration: Calibration) -> str:
        """Write a calibration; returns the digest that codecs name it by."""
        write_atomically(self.root / "calibrations" / f"{calibration.sha256}.json", calibration.to_bytes())
        return calibration.digest

    def calibration(self, digest: str) -> Calibration:
        """The calibration that `static@DIGEST` names. Raises NotFoundError, IntegrityError, SpecError."""
        if not digest or set(digest) - _HEX:
            raise SpecError(
                f"{digest!r} does not name a calibration: use its sha256 in lower-case hex, or its start"
            )
        return self._addressed(
            Calibration,
            "calibrations",
            digest,
            f"calibration {digest}",
            "deploy it with the model, or calibrate again",
        )

    # --- block costs by manifest

    def add_block_costs(self, costs: BlockCosts) -> None:
        """Write the costs of a manifest's blocks, in place of older ones. The manifest must be here."""
        manifest = self.manifest(costs.model)
        costs.check_against(manifest)
        write_atomically(self._planning_path(manifest), costs.model_dump_json().encode())

    def block_costs(self, ref: ModelRef) -> BlockCosts:
        """What blocks and codings of a cut model cost. Raises NotFoundError, IntegrityError, SpecError."""
        manifest = self.manifest(ref)
        path = self._planning_path(manifest)
        try:
            data = json.loads(path.read_bytes())
        except OSError as error:
            raise NotFoundError(
                f"{ref} has no block costs in {self.root}: deploy what `tercet plan {manifest.model}` writes"
            ) from error
        except ValueError as error:
            raise SpecError(f"{path}: not JSON: {error}") from error
        costs = parse_document(BlockCosts, data, str(path))
        costs.check_against(manifest)
        return costs

    def _planning_path(self, manifest: Manifest) -> Path:
        return self.root / "planning" / f"{manifest.sha256}.json"

    def _addressed(self, kind: type[AddressedT], folder: str, digest: str, what: str, remedy: str) -> AddressedT:
        """The document whose address starts with `digest`, which has been checked to be hex; hashed before use."""
        paths = sorted((self.root / folder).glob(f"{digest}*.json"))
        if not paths:
            raise NotFoundError(f"{what} is not in {self.root}; {remedy}")
        if len(paths) > 1:
            raise SpecError(f"{what} is ambiguous: give more digits of its address")
        (path,) = paths
        data = self._verified(path, path.stem)
        try:
            document = parse_document(kind, json.loads(data), str(path))
        except ValueError as error:
            raise SpecError(f"{path}: not JSON: {error}") from error
        if document.sha256 != path.stem:
            raise SpecError(f"{path} is not as this version writes it; {remedy}")
        return document

    def _model_dir(self, name: str) -> Path:
        return self.root / "models" / check_name(name, "model")

    def _verified(self, path: Path, address: str) -> bytes:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise NotFoundError(f"{path} is missing from the store: {error.strerror}") from error
        if (found := sha256_of(data)) != address:
            raise IntegrityError(
                f"{path} does not have the content it is named for (sha256 {found[:12]}…, expected "
                f"{address[:12]}…): delete it and slice or fetch again"
            )
        return data
