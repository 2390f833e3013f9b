"""Pipelines as people write them: documents of nodes, in YAML or by the Python API, which are the same objects.

    name: read-text
    inputs: {photo: bytes}
    deadline_s: 30
    nodes:
      picture:   {builtin: decode, needs: {data: input.photo}}
      small:     {builtin: resize, needs: {image: picture}, options: {longest: 736}}
      detect:    {call: my_steps.ocr:detect, needs: {image: small}, tier: edge, timeout_s: 5, retries: 2}
      crops:     {builtin: crop, needs: {image: picture, boxes: detect.boxes}, when: len(detect.boxes) > 0}
      recognise: {call: my_steps.ocr:recognise, needs: {line: crops}, map: line, max_concurrency: 8, priority: high}
      text:      {builtin: join, needs: {parts: recognise}, options: {separator: "\n"}}
    outputs: {text: text}

The same in Python:

    Pipeline(name="read-text", inputs={"photo": "bytes"}, deadline_s=30)
        .node("picture", builtin="decode", needs={"data": "input.photo"})
        .node("detect", call=my_steps.ocr.detect, needs={"image": "picture"}, tier="edge", timeout_s=5, retries=2)

**needs** gives each argument of a node's function a reference (`tercet.steps.references`): `input.NAME`, `NODE`, or
`NODE.KEY…` inside the node's result; a trailing `?` makes it optional. `needs: [a, b]` is short for `{a: a, b: b}`.
**options** are constants, passed as further arguments. **when** is a condition (`tercet.steps.conditions`); if it
does not hold, the node is skipped, and so is what needs it without a `?`. **map** names the argument (or several
of equal length) that is a list: the function runs once for every item, and the results are gathered in order;
`{over: line, may_fail: 3}` goes on with those that succeeded if at most three fail.

**A callable** (`call: package.module:function`) is a plain or async function. Its annotations are its types:
`bytes`, `str`, `float`, `bool`, `list[…]`, `dict`, a TypedDict, `np.ndarray`, and for more `Annotated[np.ndarray,
"image"]` with the grammar of `tercet.steps.value_types`; other annotations are not checked. If it has parameters
of these names that the node does not give, it gets: `idempotency_key: str` (the same for every try of this node
and item), `attempt: int` (from 1), `time_left_s: float | None`, `store: str` (the folder of models where it runs).

**A model** node takes its input tensors by name and gives a mapping of its output tensors. `model: NAME` is run
whole; `model: NAME@DIGEST` with `deployment: FILE` (and `plan: ID`, by default the first) as that plan cuts it.

This module says what a pipeline is, and what is wrong with one line alone; `checking` looks at it as a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FiniteFloat,
    JsonValue,
    StringConstraints,
    field_validator,
    model_validator,
)

from tercet.documents import Document, parse_document
from tercet.errors import SpecError
from tercet.identifiers import Name, NodeName
from tercet.steps.conditions import parse_condition
from tercet.steps.references import INPUT, Reference, parse_reference
from tercet.steps.value_types import parse_type
from tercet_cloud.dag.builtins import BUILTINS

MAX_NODES = 100_000
PRIORITIES = {"high": 100, "medium": 50, "low": 0}

NodeKind = Literal["model", "call", "builtin"]
Placement = Literal["device", "edge", "cloud", "auto"]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,62}$")]


def _spelled(parse: Callable[[str], object]) -> Callable[[str], str]:
    """A validator that lets only pass what `parse` takes."""

    def check(text: str) -> str:
        try:
            parse(text)
        except SpecError as error:
            raise ValueError(str(error)) from error
        return text

    return check


def _no_truth(value: object) -> object:
    """YAML reads `yes` as true, which pydantic would take for 1."""
    if isinstance(value, bool):
        raise ValueError(f"must be a number, not {str(value).lower()}")
    return value


def _priority(value: object) -> object:
    if isinstance(value, str):
        if value not in PRIORITIES:
            raise ValueError(f"must be high, medium, low or a number from 0 to 100, not {value!r}")
        return PRIORITIES[value]
    return _no_truth(value)


Seconds = Annotated[FiniteFloat, BeforeValidator(_no_truth), Field(gt=0, le=1e8)]
Count = Annotated[int, BeforeValidator(_no_truth)]
Priority = Annotated[int, BeforeValidator(_priority), Field(ge=0, le=100)]
TypeText = Annotated[str, AfterValidator(_spelled(parse_type))]
ReferenceText = Annotated[str, AfterValidator(_spelled(parse_reference))]
ImportPath = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")
]


class Resources(Document):
    """What one call of a node takes of the cloud, in Ray's units.

    A worker runs one call at a time. So one that needs no GPU takes a CPU at least, and none takes more GPUs than
    the one that a worker has; of two that take half a GPU each, one waits for the other.
    """

    cpus: Annotated[FiniteFloat, BeforeValidator(_no_truth), Field(gt=0, le=1024)] = 1.0
    gpus: Annotated[FiniteFloat, BeforeValidator(_no_truth), Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _takes_a_worker(self) -> Self:
        if self.cpus < 1 and not self.gpus:
            raise ValueError(f"a call takes a worker, which is one CPU: cpus {self.cpus:g} would be no less")
        return self


class MapOver(Document):
    """Run the node once for every item.

    Attributes:
        over: arguments that are lists of equal length.
        may_fail: so many items may fail in the end; the result then has the others, in order, and the run is
            partial.
    """

    over: Annotated[tuple[str, ...], Field(min_length=1)]
    may_fail: Annotated[Count, Field(ge=0)] = 0

    @field_validator("over", mode="before")
    @classmethod
    def _one(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value


class Node(Document):
    """One step. Exactly one of `model`, `call` and `builtin` says what it does.

    Attributes:
        deployment, plan: of a model that is cut.
        needs: arguments and where they come from; see the module.
        options: constant arguments.
        tier: where it runs. `auto`: a model node where its plan says, everything else in the cloud.
        at: the device or edge that runs it, by its node name; an edge may be left out: any of the fleet.
        max_concurrency: so many calls at once over all running pipelines; None: as many as there are workers.
        pool: nodes of one pool share its `max_concurrency`, also between pipelines; one of them in each says it.
            None: the node is its own pool.
        priority: None: the pipeline's.
        timeout_s: of one try, counted from its start.
        retries: tries beyond the first; not after an error that a retry cannot mend (`ContractError`).
        retry_wait_s: before the second try; doubles with each further one.
        max_memory_mb: what one call may allocate beyond what its worker had.
        when: the condition under which it runs.
        returns: its result's type, where the function does not say it.
        reuse: results are kept by content: equal inputs are answered from the cache. Of a function its name counts,
            not its code nor what it reads by itself.
    """

    model: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*(@[A-Za-z0-9._-]+)?$")] | None = None
    call: ImportPath | None = None
    builtin: str | None = None
    deployment: Path | None = None
    plan: Name | None = None
    needs: Mapping[str, ReferenceText] = Field(default_factory=dict)
    options: Mapping[str, JsonValue] = Field(default_factory=dict)
    tier: Placement = "auto"
    at: NodeName | None = None
    max_concurrency: Annotated[Count, Field(ge=1, le=100_000)] | None = None
    pool: Word | None = None
    priority: Priority | None = None
    timeout_s: Seconds | None = None
    retries: Annotated[Count, Field(ge=0, le=1000)] = 0
    retry_wait_s: Seconds = 0.1
    resources: Resources = Resources()
    max_memory_mb: Annotated[FiniteFloat, BeforeValidator(_no_truth), Field(gt=0)] | None = None
    when: Annotated[str, AfterValidator(_spelled(parse_condition))] | None = None
    map: MapOver | None = None
    returns: TypeText | None = None
    reuse: Annotated[bool, Field(strict=True)] = False

    @field_validator("needs", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        """`[a, b]` is short for `{a: a, b: b}`."""
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list | tuple):
            return value
        if not all(isinstance(item, str) and item.rstrip("?").isidentifier() for item in value):
            raise ValueError("a list in `needs` names nodes only; write {argument: reference} for anything else")
        if len(set(value)) != len(value):
            raise ValueError("a node stands in `needs` twice")
        return {item.rstrip("?"): item for item in value}

    @field_validator("map", mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        """`map: argument` is short for `{over: [argument]}`."""
        return {"over": value} if isinstance(value, str | list | tuple) else value

    @field_validator("call", mode="before")
    @classmethod
    def _path(cls, value: object) -> object:
        """A function stands for its import path."""
        if not callable(value):
            return value
        name = getattr(value, "__qualname__", "<locals>")
        if "<" in name:
            raise ValueError(f"{name} cannot be imported by a worker: use a function of a module")
        return f"{value.__module__}:{name}"

    @field_validator("builtin")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in BUILTINS:
            raise ValueError(f"there is no built-in {value!r} (there: {', '.join(sorted(BUILTINS))})")
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = [name for name in ("model", "call", "builtin") if getattr(self, name) is not None]
        if len(kinds) != 1:
            what = " and ".join(kinds) or "none of them"
            raise ValueError(f"a node has exactly one of model, call and builtin, not {what}")
        if self.model is None and (self.deployment or self.plan):
            raise ValueError("`deployment` and `plan` belong to a model")
        if self.plan is not None and self.deployment is None:
            raise ValueError("`plan` names a plan of a deployment: say which, as `deployment: FILE`")
        if self.deployment is not None and "@" not in (self.model or ""):
            raise ValueError("a model of a deployment is named NAME@DIGEST, as the deployment names it")
        if self.model is not None and self.options:
            raise ValueError("a model takes no options, only tensors")
        if self.reuse and self.model is not None and self.deployment is None and self.tier in ("device", "edge"):
            raise ValueError(f"which {self.model} the {self.tier} has is only known there: leave out `reuse`")
        if self.map is not None and (unknown := [name for name in self.map.over if name not in self.needs]):
            raise ValueError(f"map is over {', '.join(unknown)}, which is not in `needs`")
        if both := sorted(set(self.needs) & set(self.options)):
            raise ValueError(f"{', '.join(both)} stands in `needs` and in `options`")
        if self.tier == "device" and self.at is None:
            raise ValueError("a node on a device says on which, as `at: NAME`")
        if self.at is not None and self.deployment is not None:
            raise ValueError("a model with a deployment goes to any edge that serves it: leave out `at`")
        if self.deployment is not None and self.tier == "device":
            raise ValueError("what of a cut model devices run, its plan says: leave out `tier`")
        if self.at is not None and self.tier not in ("device", "edge"):
            raise ValueError("`at` names a device or an edge: set `tier`")
        return self

    @property
    def kind(self) -> NodeKind:
        return "model" if self.model is not None else "call" if self.call is not None else "builtin"

    @property
    def target(self) -> str:
        """What it runs: the model, the import path or the built-in's name."""
        return self.model or self.call or self.builtin or ""

    def references(self) -> Iterator[Reference]:
        """Of its arguments, then of its condition."""
        yield from map(parse_reference, self.needs.values())
        if self.when is not None:
            yield from parse_condition(self.when).references()

    def upstream(self) -> dict[str, bool]:
        """The nodes it waits for, in order; False where all references to a node are optional."""
        found: dict[str, bool] = {}
        for reference in self.references():
            if reference.node is not None:
                found[reference.node] = found.get(reference.node, False) or not reference.optional
        return found


class Pipeline(Document):
    """A graph of nodes.

    Attributes:
        inputs: what a run is given, with types.
        outputs: what a run gives; by default the results of the nodes that no other needs.
        events: keys that change when a run is done, and what they hold then; told over the broker.
        deadline_s: of the whole run; every node inherits what is left.
        priority: of nodes that have none of their own.
        max_runs: runs under way at once; more wait in line.
        durable: results and states are kept, so that a run outlives a crash.
    """

    format: Literal[1] = 1
    name: Name
    description: str = ""
    inputs: Mapping[Word, TypeText] = Field(default_factory=dict)
    nodes: Annotated[Mapping[Word, Node], Field(max_length=MAX_NODES)] = Field(default_factory=dict)
    outputs: Mapping[Word, ReferenceText] | None = None
    events: Mapping[Annotated[str, Field(min_length=1, max_length=1000)], ReferenceText] = Field(
        default_factory=dict
    )
    deadline_s: Seconds | None = None
    priority: Priority = PRIORITIES["medium"]
    max_runs: Annotated[Count, Field(ge=1, le=100_000)] = 1000
    durable: Annotated[bool, Field(strict=True)] = True

    @field_validator("nodes")
    @classmethod
    def _not_input(cls, value: Mapping[str, Node]) -> Mapping[str, Node]:
        if INPUT in value:
            raise ValueError(f"no node may be called {INPUT}: references to inputs start so")
        return value

    def node(self, name: str, **fields: Any) -> Pipeline:
        """This pipeline with one node more; the fields are those of `Node`. SpecError names the node."""
        return self.with_nodes({name: fields})

    def with_nodes(self, nodes: Mapping[str, Mapping[str, Any] | Node]) -> Pipeline:
        """This pipeline with more nodes. For thousands, one call of this is quicker than many of `node`."""
        if twice := [name for name in nodes if name in self.nodes]:
            raise SpecError(f"pipeline {self.name}: node {twice[0]} is there already")
        data = {name: getattr(self, name) for name in type(self).model_fields}
        return parse_document(type(self), {**data, "nodes": {**self.nodes, **nodes}}, f"pipeline {self.name}")

    def downstream(self) -> dict[str, list[str]]:
        """The nodes that wait for each node."""
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for name, node in self.nodes.items():
            for upstream in node.upstream():
                found.setdefault(upstream, []).append(name)
        return found

    def results(self) -> dict[str, Reference]:
        """What a run gives, by name: `outputs`, or the nodes that no other needs."""
        if self.outputs is not None:
            return {name: parse_reference(text) for name, text in self.outputs.items()}
        return {name: Reference(name) for name, waiting in self.downstream().items() if not waiting}

    def told(self) -> dict[str, Reference]:
        """What `events` hold, by key."""
        return {key: parse_reference(text) for key, text in self.events.items()}

    def kept(self) -> set[str]:
        """The nodes whose results are wanted when a run has ended."""
        references = [*self.results().values(), *self.told().values()]
        return {reference.node for reference in references if reference.node is not None}

    def priority_of(self, node: Node) -> int:
        return self.priority if node.priority is None else node.priority

    def pool_of(self, name: str) -> str:
        """Whose `max_concurrency` a node shares."""
        return self.nodes[name].pool or f"{self.name}/{name}"

    def pool_limits(self) -> dict[str | None, int]:
        """Of each pool the least `max_concurrency` that one of its nodes says."""
        limits: dict[str | None, int] = {}
        for node in self.nodes.values():
            if node.pool is not None and node.max_concurrency is not None:
                limits[node.pool] = min(node.max_concurrency, limits.get(node.pool, node.max_concurrency))
        return limits
