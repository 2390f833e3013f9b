"""A plan that travels in the header of its frames, because no deployment has it.

What a peer sends is checked as if an operator had written it: boundaries, codecs, and that the plan's name is the
one that follows from it.
"""

from __future__ import annotations

from pydantic import ValidationError

from tercet.codecs.spec import MAX_SPEC_CHARS
from tercet.documents import first_problem
from tercet.errors import SpecError
from tercet.models.manifest import Manifest
from tercet.plans import LinkCodecs, Plan, canonical_plan_id, check_plan
from tercet.printable import printable
from tercet.v1 import frame_pb2 as pb

_SHOWN = 80


def spec_of(plan: Plan) -> pb.PlanSpec:
    """What frames under a plan carry of it."""
    return pb.PlanSpec(
        device_until=plan.device_until,
        edge_until=plan.edge_until,
        device_edge=plan.codecs.device_edge,
        edge_cloud=plan.codecs.edge_cloud,
    )


def open_carried_plan(plan_id: str, spec: pb.PlanSpec, manifest: Manifest) -> Plan:
    """The plan that a frame carries, without predictions.

    Raises:
        SpecError: cuts that the model does not have, codecs that are none or not spelt canonically, photos where
            there are none, or a name that belongs to another plan.
    """
    shown = printable(plan_id, _SHOWN)
    texts = (spec.device_edge, spec.edge_cloud)
    if any(len(text) > MAX_SPEC_CHARS for text in texts):
        raise SpecError(f"plan {shown!r} carries a codec of more than {MAX_SPEC_CHARS} characters")
    try:
        codecs = LinkCodecs(device_edge=spec.device_edge, edge_cloud=spec.edge_cloud)
        if (codecs.device_edge, codecs.edge_cloud) != texts:
            raise SpecError(
                f"plan {shown!r} carries codecs that are not spelt as {codecs.device_edge}, {codecs.edge_cloud}"
            )
        expected = canonical_plan_id(spec.device_until, spec.edge_until, codecs)
        if plan_id != expected:
            raise SpecError(f"plan {shown!r} carries a plan whose name is {expected}: is it another one's?")
        plan = Plan(id=plan_id, device_until=spec.device_until, edge_until=spec.edge_until, codecs=codecs)
    except ValidationError as error:
        raise SpecError(
            f"plan {shown!r} carries a plan that is none: {printable(first_problem(error), 300)}"
        ) from error
    check_plan(plan, manifest)
    return plan
