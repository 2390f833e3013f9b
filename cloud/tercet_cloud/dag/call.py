"""What a worker must know to run a node: fixed for all its tries, sent with each, and unpacked once per worker."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from tercet.steps.conditions import parse_condition
from tercet.steps.references import Part, Reference, parse_reference
from tercet_cloud.dag.builtins import BUILTINS
from tercet_cloud.dag.spec import Node, NodeKind, Pipeline

# The state of a report of a call that was given up before it ran.
DROPPED = "dropped"

# What comes of a source: one value; none, as it was skipped; the one item that is to be run; one value by
# reference, for workers that will read it often. From 0 on: so many items, one after another.
ONE, ABSENT, ITEM, LAZY = -1, -2, -3, -4


@dataclass(frozen=True)
class Argument:
    """An argument: which of the sources it comes from, and the way into that value."""

    name: str
    source: int
    path: tuple[Part, ...]


@dataclass(frozen=True)
class Means:
    """What model nodes need and is the same for all of a scheduler's nodes.

    Attributes:
        store: of models.
        cloud: HOST:PORT of a cloud's gRPC front end; None: there is none.
        broker: URL of the broker by which edges and devices are reached; None: there is none.
        fleet: of those edges and devices.
        threads: ONNX Runtime threads per run.
    """

    store: Path
    cloud: str | None = None
    broker: str | None = None
    fleet: str = "default"
    threads: int = 1


@dataclass(frozen=True)
class Call:
    """One node.

    Attributes:
        sources: nodes (or `input.NAME`) whose results it reads, each once; tries carry their values in this order.
        item_sources: those that are only read item by item, as they are.
        mapped: the arguments that an item is taken from.
        keeps: its results are kept for the case of a crash.
        reuses: its results are kept by content, and equal inputs are answered with them.
        place: `cloud`, or the tier that runs it.
    """

    pipeline: str
    node: str
    kind: NodeKind
    target: str
    place: str
    sources: tuple[str, ...]
    item_sources: frozenset[int]
    arguments: tuple[Argument, ...]
    options: Mapping[str, Any]
    when: str | None
    when_sources: Mapping[str, int]
    mapped: tuple[str, ...]
    returns: str | None
    max_memory_mb: float | None
    deployment: Path | None
    plan: str | None
    means: Means
    keeps: bool
    reuses: bool

    def packed(self) -> bytes:
        return pickle.dumps(self, protocol=pickle.HIGHEST_PROTOCOL)


@lru_cache(maxsize=4096)
def unpack_call(packed: bytes) -> Call:
    call: Call = pickle.loads(packed)
    return call


class Circumstances(NamedTuple):
    """What is different about each try.

    Attributes:
        item: its number; WHOLE or LOOK.
        counts: what comes of every source.
        rank: who goes first of those that wait at a worker: smaller first.
        time_left_s: until the try is given up.
        name: of the try, by which it is given up.
    """

    run: str
    item: int
    attempt: int
    counts: tuple[int, ...]
    rank: float
    time_left_s: float | None
    name: str = ""


class Report(NamedTuple):
    """What a worker says of a try, beside its value.

    Attributes:
        state: done, skipped or failed.
        trouble, reason, may_retry: of one that failed.
        length: of the list that was looked at, or that the value is.
        log: what the function printed and logged, cut.
        kept: where the value's bytes lie in the folder, if they are there.
        kept_bytes: how many those are, or those that came along.
        reused: it was there already, for equal inputs.
    """

    state: str
    took_s: float
    trouble: str = ""
    reason: str = ""
    may_retry: bool = True
    length: int | None = None
    log: str = ""
    kept: str = ""
    kept_bytes: int = 0
    reused: bool = False


def source_of(reference: Reference) -> str:
    """The name under which a run holds what a reference starts from."""
    return reference.node if reference.node is not None else f"input.{reference.path[0]}"


def make_call(pipeline: Pipeline, name: str, place: str, means: Means) -> Call:
    """The call of a checked pipeline's node."""
    node: Node = pipeline.nodes[name]
    sources: dict[str, int] = {}
    arguments = []
    for argument, text in node.needs.items():
        reference = parse_reference(text)
        number = sources.setdefault(source_of(reference), len(sources))
        arguments.append(Argument(argument, number, reference.inside))
    when_sources = {}
    for reference in parse_condition(node.when).references() if node.when else ():
        when_sources[source_of(reference)] = sources.setdefault(source_of(reference), len(sources))
    mapped = node.map.over if node.map else ()
    whole = {argument.source for argument in arguments if argument.name not in mapped or argument.path}
    whole.update(when_sources.values() if not mapped else ())
    return Call(
        pipeline=pipeline.name,
        node=name,
        kind=node.kind,
        target=BUILTINS[node.builtin] if node.builtin is not None else node.target,
        place=place,
        sources=tuple(sources),
        item_sources=frozenset(argument.source for argument in arguments) - whole if mapped else frozenset(),
        arguments=tuple(arguments),
        options=dict(node.options),
        when=node.when,
        when_sources=when_sources,
        mapped=mapped,
        returns=node.returns,
        max_memory_mb=node.max_memory_mb,
        deployment=node.deployment,
        plan=node.plan,
        means=means,
        keeps=pipeline.durable,
        reuses=node.reuse,
    )


def idempotency_key(run: str, node: str, item: int) -> str:
    """The same for every try of a node, or of an item of it, also after a crash."""
    return f"{run}/{node}" if item < 0 else f"{run}/{node}/{item}"
