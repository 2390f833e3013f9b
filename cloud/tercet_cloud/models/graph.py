"""An ONNX model as a data-flow graph: which operations there are, and which tensors flow between them.

Everything that does not depend on the model's input (initializers, `Constant`, `ConstantOfShape` and what is
computed only from them) is a constant: it never flows, whoever needs it gets a copy. What no output needs is left
out. Where to cut is decided in `boundaries`, what the parts look like in `slicing`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import onnx
from onnx import GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

from tercet.errors import SpecError
from tercet.models.store import sha256_of
from tercet_cloud.models.tensor_types import TensorTypes

# Two runs of these differ, so a copy in another segment would be another tensor.
_RANDOM_OPS = frozenset(
    {
        "RandomNormal",
        "RandomUniform",
        "RandomNormalLike",
        "RandomUniformLike",
        "Multinomial",
        "Bernoulli",
        "Dropout",
    }
)
FunctionKey = tuple[str, str, str]


@dataclass(frozen=True)
class Operation:
    """A node that depends on the model's input. `index` is its place in a topological order.

    `reads` and `constants` name what it takes, without repetition, captures of its subgraphs included;
    `gives` names its outputs.
    """

    index: int
    node: NodeProto
    reads: tuple[str, ...]
    constants: tuple[str, ...]
    gives: tuple[str, ...]


@dataclass(frozen=True)
class Constants:
    """What a set of constant tensors is made from, in an order that can run."""

    nodes: tuple[NodeProto, ...]
    initializers: tuple[TensorProto, ...]
    sparse_initializers: tuple[SparseTensorProto, ...]


class OnnxGraph:
    """The data-flow graph of one ONNX file.

    Attributes:
        inputs, outputs: names of the model's inputs (initializers are none) and outputs, in its order.
        operations: topologically ordered; every one is needed for an output.
        producer: index of the operation that gives a tensor; the model's inputs have none.
        consumers: indices of the operations that read a tensor, ascending.

    Raises:
        SpecError: not an ONNX file, weights in other files, a cycle, a tensor with no or two producers, no outputs.
    """

    def __init__(self, onnx_bytes: bytes) -> None:
        self.sha256 = sha256_of(onnx_bytes)
        self.model = parse_onnx(onnx_bytes)
        graph = self.model.graph
        self._initializers: dict[str, TensorProto] = {item.name: item for item in graph.initializer}
        self._sparse: dict[str, SparseTensorProto] = {item.values.name: item for item in graph.sparse_initializer}
        given = self._initializers.keys() | self._sparse.keys()
        self.inputs = tuple(item.name for item in graph.input if item.name not in given)
        self.outputs = tuple(item.name for item in graph.output)
        self._functions = {_function_key(item): item for item in self.model.functions}

        nodes = _ordered(list(graph.node), {*self.inputs, *given})
        constant, self._constant_nodes = self._split(nodes, given)
        self.operations = self._needed_operations(nodes, constant)
        self.producer = {name: operation.index for operation in self.operations for name in operation.gives}
        consumers: dict[str, list[int]] = {}
        for operation in self.operations:
            for name in operation.reads:
                consumers.setdefault(name, []).append(operation.index)
        self.consumers = {name: tuple(indices) for name, indices in consumers.items()}
        self._constant_names = constant
        known = {*self.inputs, *constant, *self.producer}
        if missing := [name for name in self.outputs if name not in known]:
            raise SpecError(f"output {missing[0]!r} of this model is given by nothing")
        if not self.operations:
            raise SpecError("this model computes nothing: no output depends on an operation on its inputs")

    @cached_property
    def types(self) -> TensorTypes:
        """Dtypes and shapes of all tensors, inferred when first asked for. Raises SpecError."""
        return TensorTypes(self.model)

    def is_constant(self, tensor: str) -> bool:
        return tensor in self._constant_names

    def constants(self, names: Iterable[str]) -> Constants:
        """Everything needed to have the constant tensors `names`."""
        wanted, seen = list(names), set[str]()
        while wanted:
            name = wanted.pop()
            if name not in seen:
                seen.add(name)
                if name in self._constant_nodes:
                    wanted.extend(node_reads(self._constant_nodes[name]))
        nodes = {id(node): node for name, node in self._constant_nodes.items() if name in seen}
        return Constants(
            tuple(nodes.values()),
            tuple(item for name, item in self._initializers.items() if name in seen),
            tuple(item for name, item in self._sparse.items() if name in seen),
        )

    def functions(self, nodes: Iterable[NodeProto]) -> tuple[object, ...]:
        """The model's local functions that `nodes` call, directly or not, in the model's order."""
        wanted, seen = [key for node in nodes for key in _called(node)], set[FunctionKey]()
        while wanted:
            key = wanted.pop()
            if key in self._functions and key not in seen:
                seen.add(key)
                wanted.extend(called for node in self._functions[key].node for called in _called(node))
        return tuple(function for key, function in self._functions.items() if key in seen)

    def _split(self, nodes: list[NodeProto], given: set[str]) -> tuple[set[str], dict[str, NodeProto]]:
        """Names of all constant tensors, and the nodes among `nodes` that compute some of them."""
        constant, makers = set(given), dict[str, NodeProto]()
        for node in nodes:
            if all(name in constant for name in node_reads(node)) and not self._is_random(node):
                outputs = [name for name in node.output if name]
                constant.update(outputs)
                makers.update(dict.fromkeys(outputs, node))
        return constant, makers

    def _is_random(self, node: NodeProto) -> bool:
        inner = [node, *_nested_nodes(node)]
        inner += [nested for function in self.functions(inner) for nested in _all_nodes(function)]
        return any(item.op_type in _RANDOM_OPS for item in inner)

    def _needed_operations(self, nodes: list[NodeProto], constant: set[str]) -> tuple[Operation, ...]:
        wanted, needed = set(self.outputs), list[NodeProto]()
        for node in reversed(nodes):
            if any(name in wanted and name not in constant for name in node.output):
                needed.append(node)
                wanted.update(node_reads(node))
        ordered = _sources_late(needed[::-1], constant, self.inputs)
        return tuple(_operation(index, node, constant) for index, node in enumerate(ordered))


def parse_onnx(onnx_bytes: bytes) -> ModelProto:
    """The model of one self-contained ONNX file; SpecError if it is none."""
    try:
        model = onnx.load_model_from_string(onnx_bytes)
    except Exception as error:  # protobuf's DecodeError, which onnx does not re-export
        raise SpecError(f"not an ONNX file: {str(error).splitlines()[0]}") from error
    if any(item.data_location == TensorProto.EXTERNAL for item in model.graph.initializer):
        raise SpecError("this model keeps weights in other files: save it as one file (onnx.save_model does)")
    return model


def node_reads(node: NodeProto) -> tuple[str, ...]:
    """Tensors a node takes: its inputs, and what its subgraphs capture from around it."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            names.extend(_captured(graph))
    return tuple(dict.fromkeys(names))


def describe_node(node: NodeProto) -> str:
    outputs = ", ".join(name for name in node.output if name)
    return f"{node.op_type} {node.name!r} (gives {outputs})" if node.name else f"{node.op_type} (gives {outputs})"


def _captured(graph: GraphProto) -> list[str]:
    own = {item.name for item in (*graph.input, *graph.initializer)}
    own.update(item.values.name for item in graph.sparse_initializer)
    own.update(name for node in graph.node for name in node.output)
    used = [name for node in graph.node for name in node_reads(node)]
    used.extend(item.name for item in graph.output)
    return [name for name in used if name not in own]


def _ordered(nodes: list[NodeProto], available: set[str]) -> list[NodeProto]:
    """Nodes in topological order, otherwise as they came."""
    makers: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in node.output:
            if name and (name in makers or name in available):
                raise SpecError(f"tensor {name!r} is given twice, the second time by {describe_node(node)}")
            if name:
                makers[name] = index
    followers: dict[int, list[int]] = {}
    waits = [0] * len(nodes)
    for index, node in enumerate(nodes):
        before = set[int]()
        for name in node_reads(node):
            if name in makers:
                before.add(makers[name])
            elif name not in available:
                raise SpecError(f"{describe_node(node)} reads tensor {name!r}, which nothing gives")
        waits[index] = len(before)
        for maker in before:
            followers.setdefault(maker, []).append(index)
    ready = [index for index, count in enumerate(waits) if count == 0]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for follower in followers.get(index, ()):
            waits[follower] -= 1
            if waits[follower] == 0:
                heapq.heappush(ready, follower)
    if len(order) < len(nodes):
        stuck = next(node for node, count in zip(nodes, waits, strict=True) if count)
        raise SpecError(f"this model has a cycle through {describe_node(stuck)}")
    return [nodes[index] for index in order]


def _sources_late(nodes: list[NodeProto], constant: set[str], inputs: tuple[str, ...]) -> list[NodeProto]:
    """Topological order in which what hangs on no input (random numbers) comes just before its first use.

    So every place where one tensor crosses is a place in this order.
    """
    from_input = set(inputs)
    floating: dict[str, NodeProto] = {}
    order: list[NodeProto] = []

    def emit_floating(node: NodeProto) -> None:
        for name in node_reads(node):
            if name in floating:
                source = floating[name]
                for output in source.output:
                    floating.pop(output, None)
                emit_floating(source)
                order.append(source)

    for node in nodes:
        if any(name in from_input for name in node_reads(node)):
            emit_floating(node)
            order.append(node)
            from_input.update(node.output)
        else:
            floating.update(dict.fromkeys((name for name in node.output if name), node))
    order.extend({id(node): node for node in floating.values()}.values())
    return order


def _operation(index: int, node: NodeProto, constant: set[str]) -> Operation:
    reads = node_reads(node)
    return Operation(
        index=index,
        node=node,
        reads=tuple(name for name in reads if name not in constant),
        constants=tuple(name for name in reads if name in constant),
        gives=tuple(name for name in node.output if name),
    )


def _function_key(item: object) -> FunctionKey:
    return (getattr(item, "domain", ""), getattr(item, "name", ""), getattr(item, "overload", ""))


def _called(node: NodeProto) -> list[FunctionKey]:
    return [(item.domain, item.op_type, item.overload) for item in (node, *_nested_nodes(node))]


def _nested_nodes(node: NodeProto) -> list[NodeProto]:
    return [
        nested
        for attribute in node.attribute
        for graph in (attribute.g, *attribute.graphs)
        for nested in _all_nodes(graph)
    ]


def _all_nodes(graph: object) -> list[NodeProto]:
    return [item for node in getattr(graph, "node", ()) for item in (node, *_nested_nodes(node))]
