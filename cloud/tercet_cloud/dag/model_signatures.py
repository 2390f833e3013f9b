"""What model nodes take and give: the tensors that a model's graph or a cut model's manifest declares."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from tercet.errors import SpecError
from tercet.identifiers import ModelRef
from tercet.models.manifest import TensorSpec
from tercet.models.store import Store
from tercet.plans import read_deployment
from tercet.steps.functions import Signature
from tercet.steps.value_types import MappingType, TensorType
from tercet_cloud.dag.spec import Node


class StoreSignatures:
    """Signatures of the models in a store; each model is read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._whole = lru_cache(maxsize=256)(self._of_graph)

    def __call__(self, node: Node) -> Signature:
        """NotFoundError, IntegrityError or SpecError if the model, deployment or plan is not there as named."""
        name = node.model or ""
        if node.deployment is None and "@" not in name:
            return self._whole(name)
        manifest = self._store.manifest(ModelRef(name))
        if node.deployment is not None:
            check_deployment(node, node.deployment)
        return tensor_signature(manifest.boundaries[0].tensors, manifest.boundaries[-1].tensors)

    def _of_graph(self, name: str) -> Signature:
        # Deferred: onnx takes a while to import.
        from tercet_cloud.models.graph import parse_onnx
        from tercet_cloud.models.tensor_types import TensorTypes

        model = parse_onnx(self._store.model_bytes(self._store.card(name)))
        types = TensorTypes(model)
        constants = {item.name for item in model.graph.initializer}
        inputs = [item.name for item in model.graph.input if item.name not in constants]
        return tensor_signature(map(types.spec, inputs), (types.spec(item.name) for item in model.graph.output))


def check_deployment(node: Node, path: Path) -> None:
    """SpecError or NotFoundError unless the deployment is of the node's model and has its plan."""
    deployment = read_deployment(path)
    if deployment.model != node.model:
        raise SpecError(f"{path} deploys {deployment.model}, not {node.model}")
    if node.plan is not None:
        deployment.plan(node.plan)


def tensor_signature(inputs: Iterable[TensorSpec], outputs: Iterable[TensorSpec]) -> Signature:
    takes = {spec.name: TensorType(spec.dtype, spec.shape) for spec in inputs}
    gives = MappingType(tuple((spec.name, TensorType(spec.dtype, spec.shape)) for spec in outputs))
    return Signature(takes, frozenset(takes), False, frozenset(), gives)
