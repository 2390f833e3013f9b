"""A network as the planner sees it: operations in order, and the tensors that flow between them.

Independent of ONNX, so that random graphs can be planned too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]

# The producer of the model's inputs: they are born on the device.
INPUT = -1


@dataclass(frozen=True)
class FlowTensor:
    """A tensor that flows: `producer` is an operation's index or INPUT, `consumers` are ascending.

    A model output has to be where the chain ends, so it crosses every link that is used, unless made beyond it.
    """

    name: str
    producer: int
    consumers: tuple[int, ...]
    is_output: bool = False


@dataclass(frozen=True)
class CutGraph:
    """`operations` (names) are topologically ordered: a tensor's consumers come after its producer."""

    operations: tuple[str, ...]
    tensors: tuple[FlowTensor, ...]

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """(earlier, later) pairs of operations along which data flows, without repetition."""
        return tuple(
            dict.fromkeys(
                (tensor.producer, consumer)
                for tensor in self.tensors
                if tensor.producer != INPUT
                for consumer in tensor.consumers
            )
        )

    @property
    def inputs(self) -> tuple[int, ...]:
        """Indices of the tensors that are the model's inputs."""
        return tuple(index for index, tensor in enumerate(self.tensors) if tensor.producer == INPUT)


@dataclass(frozen=True)
class Assignment:
    """Where each operation runs, as the two variables per operation of DESIGN 4.

    `at_edge_or_beyond` and `in_cloud` are (operations,) bool; `in_cloud` implies `at_edge_or_beyond`, and an
    operation is never before one whose output it reads.
    """

    at_edge_or_beyond: Mask
    in_cloud: Mask

    @classmethod
    def of_cuts(cls, graph: CutGraph, device: frozenset[int], until_cloud: frozenset[int]) -> Assignment:
        """From the operations before each link; `device` is a part of `until_cloud`."""
        count = len(graph.operations)
        beyond = np.fromiter((index not in device for index in range(count)), bool, count)
        cloud = np.fromiter((index not in until_cloud for index in range(count)), bool, count)
        return cls(beyond, cloud)

    @property
    def masks(self) -> tuple[Mask, Mask]:
        """The variables by link: device–edge, edge–cloud."""
        return self.at_edge_or_beyond, self.in_cloud

    def before(self, link: int) -> frozenset[int]:
        """The operations before link 0 (device–edge) or 1 (edge–cloud)."""
        return frozenset(np.flatnonzero(~self.masks[link]).tolist())

    def uses(self, link: int) -> bool:
        return bool(self.masks[link].any())

    def crossing(self, graph: CutGraph, link: int) -> tuple[int, ...]:
        """Indices of the tensors that cross a link, each once; empty for an unused link."""
        beyond = self.masks[link]
        if not beyond.any():
            return ()
        return tuple(
            index
            for index, tensor in enumerate(graph.tensors)
            if not (tensor.producer != INPUT and beyond[tensor.producer])
            and (tensor.is_output or _any(beyond, tensor.consumers))
        )

    @property
    def passes_edge(self) -> bool:
        """Whether the cloud is used and the edge computes nothing: it then hands the frame on."""
        return self.uses(1) and bool((self.at_edge_or_beyond == self.in_cloud).all())


def _any(mask: Mask, indices: Sequence[int]) -> bool:
    return any(mask[index] for index in indices)
