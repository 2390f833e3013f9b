"""Random fleet problems, small enough that every choice can be tried, and the trying."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
from scipy import sparse

from tercet_cloud.planner.fleet.fleet_problem import FleetProblem, Resource, SharedCharges


def random_fleet(seed: int, *, memory: bool = True) -> FleetProblem:
    """2–3 cohorts of 1–4 devices on 1–2 edges, 2–3 options on each; about as much shared as is needed."""
    generator = np.random.default_rng(seed)
    edges = int(generator.integers(1, 3))
    rows: list[tuple[int, int, float, list[float]]] = []
    units = generator.integers(1, 5, size=int(generator.integers(2, 4)))
    for cohort in range(len(units)):
        for edge in generator.permutation(edges)[: int(generator.integers(1, edges + 1))]:
            for _ in range(int(generator.integers(2, 4))):
                usage = [0.0] * (2 * edges + 1)
                usage[2 * edge] = float(generator.uniform(0, 1)) * generator.integers(0, 2)
                usage[2 * edge + 1] = float(generator.uniform(0, 1))
                usage[-1] = float(generator.uniform(0, 1))
                rows.append((cohort, cohort * edges + int(edge), float(generator.uniform(1, 10)), usage))
    rows.sort(key=lambda row: row[:2])
    options = len(rows)
    usage = np.array([row[3] for row in rows]).T
    need = usage.mean(axis=1) * units.sum() * generator.uniform(0.8, 2, 2 * edges + 1) + 0.05
    kinds = [(f"edge-{edge}", kind) for edge in range(edges) for kind in ("cores", "uplink")] + [("cloud", "cores")]
    problem = FleetProblem(
        units=units.astype(np.int64),
        cohort_of=np.array([row[0] for row in rows], np.intp),
        group_of=np.unique([row[1] for row in rows], return_inverse=True)[1].astype(np.intp),
        value=np.array([row[2] for row in rows]),
        usage=sparse.csc_array(usage),
        resources=tuple(
            Resource(owner, kind, "units", float(amount), 1.0)
            for (owner, kind), amount in zip(kinds, need, strict=True)
        ),
        charges=SharedCharges.none(options),
    )
    return _with_memory(problem, generator, edges) if memory else problem


def _with_memory(problem: FleetProblem, generator: np.random.Generator, edges: int) -> FleetProblem:
    """Two blocks on each edge, that some options need, and room for one or both."""
    options = len(problem.value)
    on_edge = problem.usage.toarray()[0 : 2 * edges : 1].reshape(edges, 2, options).any(axis=1)
    needs = np.repeat(on_edge, 2, axis=0) & (generator.uniform(size=(2 * edges, options)) < 0.6)
    amount = generator.uniform(1, 2, 2 * edges)
    memory = [Resource(f"edge-{edge}", "memory", "MB", float(generator.uniform(2, 5))) for edge in range(edges)]
    first = len(problem.resources)
    return replace(
        problem,
        usage=sparse.csc_array(sparse.vstack([problem.usage, sparse.csc_array((edges, options))])),
        resources=(*problem.resources, *memory),
        charges=SharedCharges(
            sparse.csr_array(needs.astype(np.float64)),
            amount,
            first + np.repeat(np.arange(edges), 2).astype(np.intp),
        ),
    )


def best_by_trying(problem: FleetProblem, *, divide: bool = True) -> float:
    """The least sum of values over every way to divide every cohort's devices; infinite if none fits."""
    per_cohort = []
    for cohort, size in enumerate(problem.units):
        options = np.flatnonzero(problem.cohort_of == cohort)
        if divide:
            ways = _divisions(int(size), len(options))
        else:
            ways = [tuple(int(size) * (i == j) for j in range(len(options))) for i in range(len(options))]
        per_cohort.append(ways)
    counts = np.array([sum(way, ()) for way in product(*per_cohort)], np.float64)
    used = problem.usage.toarray() @ counts.T
    paid = (problem.charges.needs.toarray() @ (counts.T > 0)) > 0
    for charge, resource in enumerate(problem.charges.resource):
        used[resource] += paid[charge] * problem.charges.amount[charge]
    fits = (used <= problem.usable[:, None]).all(axis=0)
    return float(min(counts[fits] @ problem.value, default=np.inf))


def _divisions(size: int, parts: int) -> list[tuple[int, ...]]:
    if parts == 1:
        return [(size,)]
    return [(first, *rest) for first in range(size + 1) for rest in _divisions(size - first, parts - 1)]
