"""Every plan over a set of cuts and the whole menu, priced at once under any device–edge link. Latency only.

The latency of two nested cuts is a sum of two halves: a head (device, first link, decoding at the edge) that hangs
on the first cut and codec, and a tail (edge from there on, second link, cloud) that hangs on the second. Only heads
know the first link, and only by their bytes and by using it. So for every head the best tail is found once, and
another link costs one pass over the heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from tercet_cloud.planner.costs.candidate import Candidate
from tercet_cloud.planner.costs.cost_model import UNUSED_CODEC, CostModel
from tercet_cloud.planner.costs.frame_costs import MEGA, transfer_ms
from tercet_cloud.planner.costs.topology import LinkSpec
from tercet_cloud.planner.cuts.cut_graph import Assignment
from tercet_cloud.planner.cuts.linear_cost import Float64Array

Allowed = Callable[[Candidate], bool]
_UNUSED = -1


@dataclass(frozen=True)
class _Half:
    """A cut and a codec on one link, by their indices; `passes` is a head whose frame the edge hands on."""

    cut: int
    codec: int
    passes: bool = False


class PlanPool:
    """All plans over `cuts` that keep privacy and memory; deadline and energy are left to the reader.

    Attributes:
        cuts: operations before each, without repetition; those of no and of all operations are always there.
        size_bytes: (heads,) sent on the device–edge link.
        device_busy_ms: (heads,) of computing and coding.

    `refuse` takes a plan out for good, so a pool belongs to one notion of what is allowed.
    """

    def __init__(self, model: CostModel, cuts: Iterable[frozenset[int]]) -> None:
        graph = model.measurements.graph
        count = len(graph.operations)
        everything = frozenset(range(count))
        self._model = model
        self.cuts = tuple(dict.fromkeys([frozenset[int](), *sorted(cuts, key=len), everything]))
        self._full = self.cuts.index(everything)
        self._titles = [codec.title for codec in model.measurements.coding.codecs]
        before = np.array([[index in cut for index in range(count)] for cut in self.cuts], bool).reshape(-1, count)
        self._nested = ~((before[:, None, :] & ~before[None, :, :]).any(axis=2))
        self._crossing = [list(Assignment.of_cuts(graph, cut, everything).crossing(graph, 0)) for cut in self.cuts]
        self._spent = before @ model.tariff.op_ms.T  # (cuts, tiers)
        self._weights = before @ model.tariff.weights_mb
        coded = [model.tariff.coded(title) for title in self._titles]
        self._bytes, self._encode, self._decode = (
            np.array([[values[crossing].sum() for values in column] for crossing in self._crossing])
            for column in (
                [item.bytes for item in coded],
                [item.encode_ms for item in coded],
                [item.decode_ms for item in coded],
            )
        )
        self._memory = {
            name: bound for name, bound, _ in model.bounds(model.topology.constraints) if name.endswith("memory")
        }
        self._heads = self._all_heads()
        self._tails = self._all_tails()
        self._tail_ms = np.array([self._ms_of_tail(tail) for tail in self._tails])
        self._tail_order = [np.array([], np.intp)] * len(self.cuts)
        self._refused: list[set[int]] = [set() for _ in self._heads]
        self._best = np.full(len(self._heads), _UNUSED)
        self._order_tails()
        fixed = [self._ms_of_head(head) for head in self._heads]
        self.device_busy_ms = np.array([busy for busy, _ in fixed])
        self._fixed_ms = np.array([busy + beyond for busy, beyond in fixed])
        self._is_used = np.array([head.cut != self._full for head in self._heads])
        sizes = [self._bytes[head.cut, head.codec] if head.codec != _UNUSED else 0.0 for head in self._heads]
        self.size_bytes = np.array(sizes) + self._is_used * model.measurements.coding.header_bytes
        self._rest_ms = np.zeros(len(self._heads))
        for head in range(len(self._heads)):
            self._choose_tail(head)

    def __len__(self) -> int:
        return len(self._heads)

    def latencies_ms(self, link: LinkSpec) -> Float64Array:
        """(heads,) the latency of each head with its best tail; inf where all were refused."""
        answer_ms = transfer_ms(self._model.measurements.coding.answer_bytes, link.down_mbps)
        always = link.round_trip_ms + link.overhead_ms + answer_ms
        found: Float64Array = (
            self._fixed_ms + self._rest_ms + self._is_used * always + self.size_bytes * transfer_ms(1, link.up_mbps)
        )
        return found

    def quickest(self, link: LinkSpec, allowed: Allowed, heads: npt.NDArray[np.bool_] | None = None) -> int | None:
        """The head of the quickest plan that is allowed, among some heads or all; None if there is none."""
        while self._heads:
            latencies = self.latencies_ms(link)
            if heads is not None:
                latencies = np.where(heads, latencies, np.inf)
            head = int(latencies.argmin())
            if not np.isfinite(latencies[head]):
                return None
            if allowed(self.candidate(head)):
                return head
            self.refuse(head)
        return None

    def candidate(self, head: int) -> Candidate:
        """A head with its best tail."""
        first = self._heads[head]
        if first.passes:
            title = self._titles[first.codec]
            return Candidate(self.cuts[first.cut], self.cuts[first.cut], (title, title))
        second = self._tails[self._best[head]]
        return Candidate(self.cuts[first.cut], self.cuts[second.cut], (self._title(first), self._title(second)))

    def refuse(self, head: int) -> None:
        """Take a head's best plan out; its next best tail takes the place."""
        if self._heads[head].passes:
            self._rest_ms[head] = np.inf
        else:
            self._refused[head].add(int(self._best[head]))
            self._choose_tail(head)

    def at_cut(self, cut: frozenset[int]) -> npt.NDArray[np.bool_]:
        """(heads,) those whose device stops at a cut of the pool."""
        index = self.cuts.index(cut)
        return np.array([head.cut == index for head in self._heads])

    def device_energy_mj(self, link: LinkSpec) -> Float64Array:
        """(heads,) as `CostModel` counts it."""
        sending_ms = self.size_bytes * transfer_ms(1, link.up_mbps)
        energy: Float64Array = (
            self.device_busy_ms * self._model.tariff.active_power_w + sending_ms * link.transmit_power_w
        )
        return energy

    def _title(self, half: _Half) -> str:
        return UNUSED_CODEC if half.codec == _UNUSED else self._titles[half.codec]

    def _all_heads(self) -> list[_Half]:
        found = []
        for cut, codec in product(range(len(self.cuts)), range(len(self._titles))):
            if self._can_cross(cut, codec, first=True) and self._fits("device", self._on_device_mb(cut)):
                found.append(_Half(cut, codec))
                if self._fits("cloud", self._in_cloud_mb(cut)):
                    found.append(_Half(cut, codec, passes=True))
        if self._fits("device", self._on_device_mb(self._full)):
            found.append(_Half(self._full, _UNUSED))
        return found

    def _all_tails(self) -> list[_Half]:
        found = [
            _Half(cut, codec)
            for cut, codec in product(range(len(self.cuts)), range(len(self._titles)))
            if self._can_cross(cut, codec, first=False) and self._fits("cloud", self._in_cloud_mb(cut))
        ]
        return [*found, _Half(self._full, _UNUSED)]

    def _can_cross(self, cut: int, codec: int, *, first: bool) -> bool:
        measurements = self._model.measurements
        if cut == self._full or np.isnan(self._bytes[cut, codec]):
            return False
        if measurements.coding.codecs[codec].image and self.cuts[cut]:
            return False
        private = first and self._model.topology.constraints.private_input
        return not (private and set(self._crossing[cut]) & set(measurements.graph.inputs))

    def _on_device_mb(self, cut: int) -> float:
        if not self.cuts[cut]:
            return 0.0
        more = self._model.tariff.activation_mb + self._model.measurements.runtime_bytes / MEGA
        return float(self._weights[cut]) + more

    def _in_cloud_mb(self, cut: int) -> float:
        return float(self._weights[self._full] - self._weights[cut]) + self._model.tariff.activation_mb

    def _fits(self, tier: str, memory_mb: float) -> bool:
        return memory_mb <= self._memory.get(f"{tier} memory", np.inf) * (1 + 1e-9)

    def _ms_of_head(self, head: _Half) -> tuple[float, float]:
        """What keeps the device busy, and what comes after without the first link; less the edge's operations."""
        tariff, cut, codec = self._model.tariff, head.cut, head.codec
        busy = float(self._spent[cut, 0]) + (tariff.session_ms[0] if self.cuts[cut] else 0.0)
        if codec == _UNUSED:
            return busy, -float(self._spent[cut, 1])
        busy += float(self._encode[cut, codec]) * tariff.slowdown[0]
        if head.passes:
            return busy, self._ms_in_cloud(cut, codec)
        beyond = float(self._decode[cut, codec]) * tariff.slowdown[1] + tariff.session_ms[1]
        return busy, beyond - float(self._spent[cut, 1])

    def _ms_of_tail(self, tail: _Half) -> float:
        """From the edge's first operation of all on."""
        spent = float(self._spent[tail.cut, 1])
        if tail.codec == _UNUSED:
            return spent
        encoding = float(self._encode[tail.cut, tail.codec]) * self._model.tariff.slowdown[1]
        return float(spent + encoding + self._ms_in_cloud(tail.cut, tail.codec))

    def _ms_in_cloud(self, cut: int, codec: int) -> float:
        """The second link and all beyond it."""
        tariff, coding = self._model.tariff, self._model.measurements.coding
        link = tariff.links[1]
        return float(
            link.round_trip_ms
            + link.overhead_ms
            + transfer_ms(float(self._bytes[cut, codec]) + coding.header_bytes, link.up_mbps)
            + transfer_ms(coding.answer_bytes, link.down_mbps)
            + float(self._decode[cut, codec]) * tariff.slowdown[2]
            + tariff.session_ms[2]
            + float(self._spent[self._full, 2] - self._spent[cut, 2])
        )

    def _order_tails(self) -> None:
        """For each first cut the tails that it may have, quickest first."""
        ascending = np.argsort(self._tail_ms, kind="stable")
        cuts = np.array([tail.cut for tail in self._tails])
        for cut in range(len(self.cuts)):
            held = self._weights[cuts] - self._weights[cut] + self._model.tariff.activation_mb
            fits = held <= self._memory.get("edge memory", np.inf) * (1 + 1e-9)
            if cut == self._full:
                fits[:] = True
            self._tail_order[cut] = ascending[(self._nested[cut, cuts] & fits)[ascending]]

    def _choose_tail(self, head: int) -> None:
        first = self._heads[head]
        if first.passes:
            return
        # The same cut and codec again is the frame handed on, which is a head of its own.
        handed_on = (first.cut, first.codec)
        for tail in self._tail_order[first.cut]:
            half = self._tails[tail]
            if tail not in self._refused[head] and (half.codec == _UNUSED or (half.cut, half.codec) != handed_on):
                self._best[head] = tail
                self._rest_ms[head] = self._tail_ms[tail]
                return
        self._rest_ms[head] = np.inf
