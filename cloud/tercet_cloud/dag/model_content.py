"""Which model a node runs, by content: a name may stand for another model tomorrow."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from tercet.errors import NotFoundError
from tercet.models.store import Store
from tercet_cloud.dag.call import Call


def model_content(call: Call) -> str:
    """A digest that changes with the model: of its deployment, else of its card, which has its sha256.

    "" for what is no model. Reads a small file and no model. NotFoundError if that is not there.
    """
    if call.kind != "model":
        return ""
    path = call.deployment or Store(call.means.store).card_path(model_name(call))
    return sha256(_read(path)).hexdigest()


def model_name(call: Call) -> str:
    """The model's name in the store."""
    return call.target.partition("@")[0]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"cannot read {path}: {error.strerror}") from error
