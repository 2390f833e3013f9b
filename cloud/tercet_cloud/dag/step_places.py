"""How a worker runs what is no function of its own process: models, and steps of other tiers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from tercet.errors import LinkDownError
from tercet.inference.whole_model import WholeModel
from tercet.models.store import Store
from tercet_cloud.dag.call import Call, Circumstances

# Models that a worker holds at a time.
_HELD_MODELS = 4


class StepPlaces:
    """The models and connections of one worker, made when they are first needed and held."""

    def __init__(self) -> None:
        self._whole = lru_cache(maxsize=_HELD_MODELS)(_open_whole)

    def run(self, call: Call, arguments: Mapping[str, Any], circumstances: Circumstances) -> Any:
        """The result of a model node, or of any node on another tier. LinkDownError if that cannot be reached."""
        if call.place == "cloud" and call.deployment is None:
            return self._whole(call.means.store, call.target.partition("@")[0], call.means.threads).run(arguments)
        raise LinkDownError(f"no way to {call.place} is configured")


def _open_whole(store: Path, name: str, threads: int) -> WholeModel:
    held = Store(store)
    return WholeModel(held.model_bytes(held.card(name)), threads=threads)
