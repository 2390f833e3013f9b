"""Names of nodes, fleets and models, and the one rule for what they may look like."""

from __future__ import annotations

import re
from typing import Annotated, NewType

from pydantic import AfterValidator, StringConstraints

from tercet.errors import SpecError

NodeId = NewType("NodeId", str)
ModelRef = NewType("ModelRef", str)
PlanId = NewType("PlanId", str)

_NAME = r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$"
_SHA256 = r"^[0-9a-f]{64}$"

# Lower case, no MQTT or path separators, at most 63 characters: also a valid Kubernetes label value.
Name = Annotated[str, StringConstraints(pattern=_NAME)]
Sha256 = Annotated[str, StringConstraints(pattern=_SHA256)]


def check_name(value: str, what: str = "name") -> str:
    """Return `value` if it may name a node, fleet, model or plan; else raise SpecError."""
    if not re.fullmatch(_NAME, value):
        raise SpecError(
            f"{what} {value!r} is not allowed: use 1-63 of a-z, 0-9, '.', '_', '-', "
            "starting and ending with a letter or digit"
        )
    return value


NodeName = Annotated[NodeId, AfterValidator(lambda value: NodeId(check_name(value, "node")))]
