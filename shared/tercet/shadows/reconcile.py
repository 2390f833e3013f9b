"""What to do about a desired state that was seen. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tercet.shadows.documents import Desired

Decision = Literal["try", "keep", "contradiction", "refused-before"]

# A desired state that ended the process so often while it was tried is refused.
MAX_DEATHS = 2


@dataclass(frozen=True)
class Standing:
    """What a node took last, and what it refused since: (version, digest) of each, None if there was none."""

    applied: tuple[int, str] | None = None
    refused: tuple[int, str] | None = None


def decide(desired: Desired, standing: Standing) -> Decision:
    """The newest version wins: older ones are passed over, and of one version the one that came first stays."""
    key = (desired.version, desired.digest)
    if standing.applied is not None:
        if key == standing.applied or desired.version < standing.applied[0]:
            return "keep"
        if desired.version == standing.applied[0]:
            return "contradiction"
    if standing.refused is not None:
        if key == standing.refused:
            return "refused-before"
        if desired.version < standing.refused[0]:
            return "keep"
    return "try"
