"""Desired and reported state of one node, as they cross the wire and lie on disk."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from tercet.documents import Document, first_problem
from tercet.errors import FrameTooLargeError, WireFormatError
from tercet.identifiers import ModelRef
from tercet.limits import MIB
from tercet.plans import Deployment
from tercet.printable import printable
from tercet.tiers import Tier

# A deployment of a hundred plans takes about 50 KB.
MAX_SHADOW_BYTES = 1 * MIB
MAX_DEPLOYMENTS = 64
MAX_FORMER = 16
# JSON numbers are exact up to here everywhere.
MAX_VERSION = (1 << 53) - 1
_REASON_CHARS = 1000

Version = Annotated[int, Field(ge=1, le=MAX_VERSION)]


class Desired(Document):
    """What an operator wants a node to serve. A higher version replaces a lower one, and never the other way."""

    format: Literal[1] = 1
    version: Version
    deployments: Annotated[tuple[Deployment, ...], Field(min_length=1, max_length=MAX_DEPLOYMENTS)]

    @property
    def digest(self) -> str:
        """Of all it says: two of one version and different digests contradict each other."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class Reported(Document):
    """What a node answers to the desired state of a version, and what it runs.

    `version` and `running` are 0 before there was a desired state: then it runs what its command line says.
    """

    format: Literal[1] = 1
    tier: Tier
    version: Annotated[int, Field(ge=0, le=MAX_VERSION)] = 0
    status: Literal["applied", "refused"] = "applied"
    reason: Annotated[str, Field(max_length=_REASON_CHARS)] = ""
    running: Annotated[int, Field(ge=0, le=MAX_VERSION)] = 0
    models: Annotated[tuple[ModelRef, ...], Field(max_length=MAX_DEPLOYMENTS)] = ()


class Kept(Document):
    """What a node has on its disk: what it took last, and what it served before, newest first.

    Frames by former deployments may still be on their way, durable ones for days.
    """

    format: Literal[1] = 1
    desired: Desired
    former: Annotated[tuple[Deployment, ...], Field(max_length=MAX_FORMER)] = ()


MAX_KEPT_BYTES = (1 + MAX_FORMER) * MAX_SHADOW_BYTES
ShadowT = TypeVar("ShadowT", Desired, Reported, Kept)


def shorten(reason: str) -> str:
    """A reason as a report may have it."""
    return printable(reason, _REASON_CHARS - 1)


def seal_shadow(document: Desired | Reported) -> bytes:
    """As it is published; FrameTooLargeError if it is over the limit."""
    payload = document.model_dump_json(exclude_defaults=True).encode()
    if len(payload) > MAX_SHADOW_BYTES:
        raise FrameTooLargeError(
            f"a state of {len(payload):,} bytes is over {MAX_SHADOW_BYTES:,}: deploy fewer plans or models"
        )
    return payload


def open_shadow(kind: type[ShadowT], payload: object, source: str, most_bytes: int = MAX_SHADOW_BYTES) -> ShadowT:
    """What somebody published or kept. WireFormatError naming `source` for anything else."""
    if not isinstance(payload, (bytes, bytearray)):
        raise WireFormatError(f"{source} has no payload")
    if len(payload) > most_bytes:
        raise WireFormatError(f"{source} has {len(payload):,} bytes, over {most_bytes:,}")
    try:
        return kind.model_validate_json(payload)
    except ValidationError as error:
        raise WireFormatError(f"{source}: {first_problem(error)}") from error
