"""What is wrong with a pipeline as a graph: references that lead nowhere, cycles, arguments and types that differ.

Everything is found before anything runs, and named by its place in the document. Types are compared where both ends
say theirs: annotations of functions, `returns`, the signatures of built-ins, tensors of models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tercet.document_problems import Place
from tercet.documents import read_document
from tercet.errors import ContractError, SpecError
from tercet.steps.conditions import parse_condition
from tercet.steps.functions import Signature, signature_of
from tercet.steps.references import Reference, parse_reference, type_at
from tercet.steps.value_types import ANY, ListType, ValueType, misfit, parse_type, value_misfit
from tercet_cloud.dag.builtins import BUILTINS
from tercet_cloud.dag.spec import Node, Pipeline

Problem = tuple[Place, str]
# The signature of a model node; ContractError if there is no such model.
ModelSignatures = Callable[[Node], Signature]
_NAMES_SHOWN = 8


def read_pipeline(path: Path, models: ModelSignatures | None = None) -> Pipeline:
    """A pipeline's file, checked. NotFoundError, or SpecError with the line."""
    return read_document(Pipeline, path, lambda pipeline: first_problem(pipeline, models))


def check_pipeline(pipeline: Pipeline, models: ModelSignatures | None = None) -> None:
    """SpecError with the place of the first problem.

    Args:
        models: what model nodes take and give; None: not looked at.
    """
    if problem := first_problem(pipeline, models):
        place, words = problem
        raise SpecError(f"pipeline {pipeline.name}: {'.'.join(map(str, place)) or 'document'}: {words}")


def first_problem(pipeline: Pipeline, models: ModelSignatures | None = None) -> Problem | None:
    """The first problem, from the coarse to the fine; None if there is none."""
    for finding in (_missing, _cyclic, _unlimited):
        if problem := next(finding(pipeline), None):
            return problem
    return next(_Types(pipeline, models).problems(), None)


def order(pipeline: Pipeline) -> list[str]:
    """Nodes, each after those it waits for; without those on a cycle and behind one."""
    waits = {name: len(node.upstream()) for name, node in pipeline.nodes.items()}
    downstream = pipeline.downstream()
    ready = [name for name, count in waits.items() if count == 0]
    for name in ready:
        for after in downstream[name]:
            waits[after] -= 1
            if waits[after] == 0:
                ready.append(after)
    return ready


def _missing(pipeline: Pipeline) -> Iterator[Problem]:
    if not pipeline.nodes:
        yield ("nodes",), "a pipeline has at least one node"
    for place, reference in _references(pipeline):
        if reference.input is not None and reference.input not in pipeline.inputs:
            yield place, f"there is no input {reference.input} ({_known(pipeline.inputs)})"
        elif reference.node is not None and reference.node not in pipeline.nodes:
            yield place, f"there is no node {reference.node} ({_known(pipeline.nodes)})"


def _references(pipeline: Pipeline) -> Iterator[tuple[Place, Reference]]:
    for name, node in pipeline.nodes.items():
        for argument, text in node.needs.items():
            yield ("nodes", name, "needs", argument), parse_reference(text)
        if node.when is not None:
            yield from (
                (("nodes", name, "when"), reference) for reference in parse_condition(node.when).references()
            )
    for name, text in (pipeline.outputs or {}).items():
        yield ("outputs", name), parse_reference(text)
    for key, text in pipeline.events.items():
        yield ("events", key), parse_reference(text)


def _cyclic(pipeline: Pipeline) -> Iterator[Problem]:
    ordered = set(order(pipeline))
    if len(ordered) == len(pipeline.nodes):
        return
    # Whoever is left has somebody upstream who is left: going up ends on a cycle.
    name = next(name for name in pipeline.nodes if name not in ordered)
    seen: dict[str, int] = {}
    while name not in seen:
        seen[name] = len(seen)
        name = next(upstream for upstream in pipeline.nodes[name].upstream() if upstream not in ordered)
    cycle = [other for other, at in seen.items() if at >= seen[name]]
    shown = " ← ".join([*cycle[:_NAMES_SHOWN], *(["…"] if len(cycle) > _NAMES_SHOWN else []), cycle[0]])
    node = pipeline.nodes[cycle[0]]
    before = cycle[1 % len(cycle)]
    argument = next((key for key, text in node.needs.items() if parse_reference(text).node == before), None)
    place: Place = ("nodes", cycle[0], "needs", argument) if argument else ("nodes", cycle[0], "when")
    yield place, f"these nodes wait for each other: {shown}"


def _unlimited(pipeline: Pipeline) -> Iterator[Problem]:
    limits = pipeline.pool_limits()
    for name, node in pipeline.nodes.items():
        if node.pool is not None and node.pool not in limits:
            yield ("nodes", name, "pool"), f"no node here says the limit of pool {node.pool}, as max_concurrency"


class _Types:
    """Goes through the nodes in order and keeps what each gives."""

    def __init__(self, pipeline: Pipeline, models: ModelSignatures | None) -> None:
        self._pipeline, self._models = pipeline, models
        self._inputs = {name: parse_type(text) for name, text in pipeline.inputs.items()}
        self._gives: dict[str, ValueType] = {}

    def problems(self) -> Iterator[Problem]:
        for name in order(self._pipeline):
            yield from self._node(name, self._pipeline.nodes[name])
        for where, given in (("outputs", self._pipeline.outputs or {}), ("events", self._pipeline.events)):
            for name, text in given.items():
                yield from self._resolved((where, name), parse_reference(text))[1]

    def _node(self, name: str, node: Node) -> Iterator[Problem]:
        place: Place = ("nodes", name)
        given: dict[str, ValueType] = {}
        for argument, text in node.needs.items():
            given[argument], problems = self._resolved((*place, "needs", argument), parse_reference(text))
            yield from problems
        if node.when is not None:
            for reference in parse_condition(node.when).references():
                yield from self._resolved((*place, "when"), reference)[1]
        for argument in node.map.over if node.map else ():
            kind = given[argument]
            if not isinstance(kind, ListType) and kind != ANY:
                yield (*place, "map"), f"{argument} is {kind}, not a list to map over"
            given[argument] = kind.item if isinstance(kind, ListType) else ANY
        try:
            signature = self._signature(node)
        except ContractError as error:
            yield (*place, node.kind), str(error)
            return
        if signature is not None:
            yield from _arguments(place, node, given, signature)
        gives = ANY if signature is None else signature.gives
        if node.returns is not None:
            declared = parse_type(node.returns)
            if reason := misfit(gives, declared):
                yield (*place, "returns"), f"{node.target} gives {reason}"
            gives = declared
        self._gives[name] = ListType(gives) if node.map else gives

    def _signature(self, node: Node) -> Signature | None:
        if node.model is not None:
            return None if self._models is None else self._models(node)
        return signature_of(BUILTINS[node.builtin] if node.builtin is not None else node.call or "")

    def _resolved(self, place: Place, reference: Reference) -> tuple[ValueType, list[Problem]]:
        """The type of what a reference leads to, or why it never leads anywhere."""
        if reference.node is None:
            kind = self._inputs[str(reference.input)]
        else:
            kind = self._gives.get(reference.node, ANY)
        try:
            return type_at(kind, reference.inside), []
        except SpecError as error:
            return ANY, [(place, f"{reference}: {error}")]


def _arguments(place: Place, node: Node, given: dict[str, ValueType], signature: Signature) -> Iterator[Problem]:
    for where, names in (("needs", node.needs), ("options", node.options)):
        for argument in names:
            if argument not in signature.takes and not signature.takes_more:
                takes = ", ".join(signature.takes) or "nothing"
                yield (*place, where, argument), f"{node.target} takes no {argument} (it takes {takes})"
    for argument in signature.required:
        if argument not in given and argument not in node.options:
            yield (*place, "needs"), f"{node.target} needs {argument}, which nothing gives"
        elif argument in given and parse_reference(node.needs[argument]).optional:
            yield (*place, "needs", argument), f"{node.target} cannot do without {argument}: it may not be optional"
    for argument, kind in given.items():
        if reason := misfit(kind, signature.takes.get(argument, ANY)):
            yield (*place, "needs", argument), reason
    for argument, value in node.options.items():
        if reason := value_misfit(value, signature.takes.get(argument, ANY)):
            yield (*place, "options", argument), reason


def _known(names: object) -> str:
    listed = list(names)  # type: ignore[call-overload]
    shown = ", ".join([*listed[:_NAMES_SHOWN], *(["…"] if len(listed) > _NAMES_SHOWN else [])])
    return f"there: {shown}" if shown else "there is none"
