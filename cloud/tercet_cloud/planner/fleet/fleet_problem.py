"""The choice of plans for a fleet as numbers: options, what each uses of what is shared, and how much there is.

Knows nothing of networks or codecs, so that random fleets can be solved by brute force beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import sparse

from tercet.errors import InvariantError

Float64Array = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]
CountArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Resource:
    """Something shared, e.g. the cores of an edge.

    Attributes:
        owner: whose it is: an edge's name, or "cloud".
        kind: what it is: "cores", "uplink", "downlink" or "memory".
        stated: how much there is, in `unit`.
        share: the part of it that plans may use, 0…1; the rest keeps queues short.
    """

    owner: str
    kind: str
    unit: str
    stated: float
    share: float = 1.0

    @property
    def name(self) -> str:
        return f"{self.kind} of {self.owner}"

    @property
    def usable(self) -> float:
        return self.stated * self.share


@dataclass(frozen=True)
class SharedCharges:
    """What is paid once however many devices need it: a block of weights in an edge's memory.

    Attributes:
        needs: (charges, options) 0 or 1, CSR: the option needs the charge to be paid.
        amount: (charges,) of the resource, in its unit.
        resource: (charges,) index of the resource it is paid from.
    """

    needs: sparse.csr_array
    amount: Float64Array
    resource: IndexArray

    @classmethod
    def none(cls, options: int) -> SharedCharges:
        return cls(sparse.csr_array((0, options)), np.zeros(0), np.zeros(0, np.intp))


@dataclass(frozen=True)
class FleetProblem:
    """Choose an option for every device so that no resource is overdrawn and the sum of values is smallest.

    Attributes:
        units: (cohorts,) how many devices each has. They are divided among options in whole numbers.
        cohort_of: (options,) ascending.
        group_of: (options,) ascending: options that compete with one another alone, e.g. a cohort's on one edge.
            A cohort's groups lie together.
        value: (options,) of one device.
        usage: (resources, options), CSC: what one device uses, in the resource's unit.
    """

    units: CountArray
    cohort_of: IndexArray
    group_of: IndexArray
    value: Float64Array
    usage: sparse.csc_array
    resources: tuple[Resource, ...]
    charges: SharedCharges

    def __post_init__(self) -> None:
        if not all((np.diff(order) >= 0).all() for order in (self.cohort_of, self.group_of)):
            raise InvariantError("options of a fleet problem are not in order of cohort and group")
        if len(np.unique(self.cohort_of)) != len(self.units):
            raise InvariantError("a cohort of a fleet problem has no options")

    @cached_property
    def group_starts(self) -> IndexArray:
        """(groups,) the first option of each."""
        return np.flatnonzero(np.diff(self.group_of, prepend=-1)).astype(np.intp)

    @cached_property
    def usable(self) -> Float64Array:
        """(resources,)"""
        return np.array([resource.usable for resource in self.resources], np.float64)

    def undivided(self) -> FleetProblem:
        """The same where every cohort is one unit."""
        factor = self.units[self.cohort_of].astype(np.float64)
        return replace(
            self,
            units=np.ones_like(self.units),
            value=self.value * factor,
            usage=sparse.csc_array(self.usage @ sparse.diags_array(factor)),
        )

    def with_more(self, resource: int, amount: float) -> FleetProblem:
        """The same with so much more of a resource, in its unit as stated."""
        changed = list(self.resources)
        changed[resource] = replace(changed[resource], stated=changed[resource].stated + amount)
        return replace(self, resources=tuple(changed))

    def with_paid(self, paid: npt.NDArray[np.bool_]) -> tuple[FleetProblem, IndexArray]:
        """Only the options that need no charge beside (charges,) `paid`, and their indices here.

        What is paid is settled then: nothing is drawn any more from the resources that charges are paid from.
        """
        lacking = np.asarray(self.charges.needs[~paid].sum(axis=0)).ravel() > 0
        kept = np.flatnonzero(~lacking).astype(np.intp)
        problem = replace(
            self,
            cohort_of=self.cohort_of[kept],
            group_of=self.group_of[kept],
            value=self.value[kept],
            usage=self.usage[:, kept],
            charges=SharedCharges.none(len(kept)),
        )
        return problem, kept

    def load(self, options: IndexArray, counts: CountArray) -> Float64Array:
        """(resources,) what a choice uses: `counts` devices on each of `options`."""
        used = np.asarray(self.usage[:, options] @ counts.astype(np.float64), np.float64)
        needed = np.asarray(self.charges.needs[:, options[counts > 0]].sum(axis=1)).ravel() > 0
        np.add.at(used, self.charges.resource[needed], self.charges.amount[needed])
        return used
