"""Runs steps that pipelines ask of this node: built-ins, models of its store, functions it was told to allow.

Nothing else runs: a request names a function, it never brings one.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import OrderedDict
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from tercet.errors import ContractError, NotFoundError
from tercet.inference.whole_model import WholeModel
from tercet.models.store import Store
from tercet.printable import printable
from tercet.steps.functions import load_function, signature_of
from tercet.steps.step_message import StepRequest

BUILTIN_MODULES = "tercet.steps."
_HELD_MODELS = 4
_SHOWN = 120


class StepHost:
    """Thread-safe; `run` blocks.

    Args:
        store: of models.
        allowed: import paths of functions that may run, with * and ?; built-ins always may.
    """

    def __init__(self, store: Store, allowed: Sequence[str] = (), *, threads: int = 1) -> None:
        self._store, self._allowed, self._threads = store, tuple(allowed), threads
        self._models: OrderedDict[str, WholeModel] = OrderedDict()
        self._loading = threading.Lock()

    def run(self, request: StepRequest) -> Any:
        """The step's result. Raises ContractError for what may not run here, and whatever the step raises."""
        if request.kind == "model":
            return self._model(request.target).run(request.arguments)
        if request.kind == "builtin":
            if not request.target.startswith(BUILTIN_MODULES):
                raise ContractError(f"{printable(request.target, _SHOWN)} is no built-in")
        elif request.kind != "call" or not any(fnmatchcase(request.target, one) for one in self._allowed):
            raise ContractError(
                f"{printable(request.target, _SHOWN)} may not run here: start the step host with "
                "`--allow MODULE:FUNCTION`"
            )
        given = dict(request.arguments)
        for name in signature_of(request.target).context - set(given):
            if name == "store":
                given[name] = str(self._store.root)
            elif name in request.context:
                given[name] = request.context[name]
        value = load_function(request.target)(**given)
        return asyncio.run(value) if inspect.iscoroutine(value) else value

    def _model(self, name: str) -> WholeModel:
        with self._loading:
            model = self._models.get(name)
            if model is None:
                try:
                    card = self._store.card(name)
                except NotFoundError as error:
                    raise NotFoundError(f"model {printable(name, _SHOWN)} is not in this node's store") from error
                model = WholeModel(self._store.model_bytes(card), threads=self._threads)
                self._models[name] = model
                if len(self._models) > _HELD_MODELS:
                    self._models.popitem(last=False)
            self._models.move_to_end(name)
            return model
