"""What choosing cut and codec together gains over choosing the cut first, uncoded, and its codecs after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from tercet_cloud.planner.costs.candidate import Candidate, Prediction
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.topology import Objective, Topology
from tercet_cloud.planner.cuts.exact import CutProblem, solve_cuts
from tercet_cloud.planner.searching.accuracy_memo import AccuracyMemo
from tercet_cloud.planner.searching.search import Line, search_plan
from tercet_cloud.planner.views.baselines import NO_LIMITS, RAW, pinned


@dataclass(frozen=True)
class JointGain:
    """One topology. Both ways keep the same accuracy, and have the same menu, links and machines.

    `latency` plans minimise latency, `throughput` plans the bottleneck; `separate` is the cut first.
    """

    topology: str
    separate_latency: Prediction
    joint_latency: Prediction
    separate_throughput: Prediction
    joint_throughput: Prediction

    @property
    def latency_ratio(self) -> float:
        """How many times quicker."""
        return self.separate_latency.latency_ms / self.joint_latency.latency_ms

    @property
    def throughput_ratio(self) -> float:
        """How many times as many frames a second."""
        return self.separate_throughput.bottleneck_ms / self.joint_throughput.bottleneck_ms


def joint_gains(model: CostModel, memo: AccuracyMemo, topologies: Sequence[Topology]) -> list[JointGain]:
    """Both ways on every topology; other constraints than accuracy and privacy are left out."""
    gains = []
    for topology in topologies:
        kept = topology.constraints
        limits = NO_LIMITS.model_copy(
            update={"max_accuracy_drop": kept.max_accuracy_drop, "private_input": kept.private_input}
        )
        found: list[Prediction] = []
        for objective in ("latency", "throughput"):
            goal: Objective = "latency" if objective == "latency" else "throughput"
            here = model.under(topology.model_copy(update={"constraints": limits, "objective": goal}))
            separate = cut_then_codec(here, memo)
            joint = search_plan(here, memo, runner_up=False).chosen.candidate
            found += [here.predict(separate), here.predict(joint)]
        gains.append(JointGain(topology.name, *found))
    return gains


def mean_ratios(gains: Sequence[JointGain]) -> tuple[float, float]:
    """Geometric means over topologies: latency, throughput."""
    return (
        geometric_mean([gain.latency_ratio for gain in gains]),
        geometric_mean([gain.throughput_ratio for gain in gains]),
    )


def cut_then_codec(model: CostModel, memo: AccuracyMemo) -> Candidate:
    """The exact best cut of three tiers for uncoded tensors, then the best codecs there that keep the accuracy.

    The edge may hand frames on, too; so the first step is as strong as it can be.
    """
    constraints = model.topology.constraints
    anew, handed_on = solve_cuts(
        [model.problem((RAW, RAW), constraints), model.pass_through_problem(RAW, constraints)]
    )
    candidates = [
        model.candidate_of((RAW, RAW), solution, pass_through=passes)
        for solution, passes in ((anew, False), (handed_on, True))
        if solution is not None
    ]
    first = min(candidates, key=lambda candidate: model.value(model.predict(candidate)))
    everything = frozenset(range(len(model.measurements.graph.operations)))

    def same_cut(line: Line, problem: CutProblem) -> CutProblem | None:
        if line.passes:
            return pinned(problem, (first.device, everything)) if first.device == first.until_cloud else None
        return pinned(problem, (first.device, first.until_cloud))

    return search_plan(model, memo, restrict=same_cut, runner_up=False).chosen.candidate
