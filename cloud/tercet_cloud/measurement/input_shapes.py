"""How large a model's inputs are for one frame: as declared, with free axes bound by `--shape INPUT=1x3x48x320`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tercet.errors import SpecError
from tercet_cloud.models.graph import OnnxGraph

Shape = tuple[int, ...]
_OPTION = re.compile(r"(?P<name>.+)=(?P<sizes>[0-9]+(?:x[0-9]+)*)")


def parse_shape_options(options: Iterable[str]) -> dict[str, Shape]:
    """Shapes by input name, from texts like "x=1x3x48x320"; SpecError for anything else, and for sizes of 0."""
    shapes: dict[str, Shape] = {}
    for option in options:
        found = _OPTION.fullmatch(option)
        sizes = tuple(int(size) for size in found["sizes"].split("x")) if found else ()
        if found is None or not all(sizes):
            raise SpecError(f"--shape {option}: write INPUT=SIZExSIZE…, e.g. --shape x=1x3x48x320")
        if found["name"] in shapes:
            raise SpecError(f"--shape {option}: the shape of {found['name']} is given twice")
        shapes[found["name"]] = sizes
    return shapes


def bind_shapes(graph: OnnxGraph, given: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shape of every input of the model for one frame, in the model's order.

    A free first axis is 1 unless given; axes that the model calls by one name are bound together.

    Raises:
        SpecError: an axis that is still free, naming the input and the option; a shape that the model does not
            take; an input of a dtype that cannot cross links.
    """
    if unknown := [name for name in given if name not in graph.inputs]:
        raise SpecError(f"--shape {unknown[0]}=…: the model's inputs are {', '.join(graph.inputs)}")
    sizes: dict[str, set[int]] = {}
    for name, shape in given.items():
        _check_given(graph, name, shape)
        for symbol, size in zip(_axis_names(graph, name), shape, strict=True):
            sizes.setdefault(symbol, set()).add(size)
    # A name that stands for several sizes, such as "?", says nothing.
    by_axis_name = {symbol: found.pop() for symbol, found in sizes.items() if symbol and len(found) == 1}
    return {name: given.get(name) or _bound(graph, name, by_axis_name) for name in graph.inputs}


def shape_text(sizes: Iterable[int | None]) -> str:
    return "x".join("?" if size is None else str(size) for size in sizes)


def _check_given(graph: OnnxGraph, name: str, shape: Shape) -> None:
    declared = graph.types.spec(name).shape
    fits = len(declared) == len(shape) and all(
        size in (None, found) for size, found in zip(declared, shape, strict=True)
    )
    if not fits:
        raise SpecError(f"--shape {name}={shape_text(shape)}: the model declares {shape_text(declared)}")


def _bound(graph: OnnxGraph, name: str, by_axis_name: Mapping[str, int]) -> Shape:
    declared = graph.types.spec(name).shape
    sizes = [
        size if size is not None else by_axis_name.get(symbol, 1 if axis == 0 else None)
        for axis, (size, symbol) in enumerate(zip(declared, _axis_names(graph, name), strict=True))
    ]
    if None in sizes:
        example = shape_text(64 if size is None else size for size in sizes)
        raise SpecError(
            f"input {name!r} of this model has free axes ({shape_text(sizes)}): say how large a frame is, "
            f"e.g. --shape {name}={example}"
        )
    return tuple(size for size in sizes if size is not None)


def _axis_names(graph: OnnxGraph, name: str) -> tuple[str, ...]:
    """What the model calls its free axes; "" where it does not."""
    return tuple(dim.dim_param for dim in graph.types.proto(name).tensor_type.shape.dim)
