"""Profiles that nodes report of themselves, retained by the broker; and collecting those of a fleet."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import aiomqtt
from pydantic import Field, ValidationError

from tercet.documents import Document, first_problem
from tercet.errors import FrameTooLargeError, LinkDownError, OverloadedError, WireFormatError
from tercet.identifiers import NodeId
from tercet.limits import MIB
from tercet.links.broker_url import BrokerUrl
from tercet.links.retained import observer, retained_messages
from tercet.profile import Profile
from tercet.wire.topics import device_of, profile_filter, profile_topic

log = logging.getLogger(__name__)

# Of one report; a network of a thousand operations needs about a tenth of it.
MAX_REPORT_BYTES = 1 * MIB
MAX_NODES = 100_000
_MAX_PROFILES = 64


class ProfileReport(Document):
    """What one node has measured: one profile a cut model that it runs."""

    format: Literal[1] = 1
    profiles: Annotated[tuple[Profile, ...], Field(min_length=1, max_length=_MAX_PROFILES)]


@dataclass
class Collection:
    """What a fleet's nodes have reported, by node; and why other reports were refused, by topic."""

    profiles: dict[NodeId, tuple[Profile, ...]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def seal_report(profiles: Sequence[Profile]) -> bytes:
    """A report as it is published; FrameTooLargeError if it is over the limit."""
    payload = ProfileReport(profiles=tuple(profiles)).model_dump_json(exclude_defaults=True).encode()
    if len(payload) > MAX_REPORT_BYTES:
        raise FrameTooLargeError(
            f"the profiles of {len(profiles)} cut models take {len(payload):,} bytes, a report may have "
            f"{MAX_REPORT_BYTES:,}: measure cuts of fewer segments"
        )
    return payload


def retained_report(fleet: str, node: NodeId, profiles: Sequence[Profile]) -> dict[str, bytes]:
    """What `stay_connected` is to publish of a node's profiles; nothing if there are none."""
    return {profile_topic(fleet, node): seal_report(profiles)} if profiles else {}


def open_report(topic: str, payload: object) -> tuple[NodeId, tuple[Profile, ...]]:
    """The node that reports, and its profiles. WireFormatError for anything that is not its own report."""
    node = device_of(topic)
    if not isinstance(payload, (bytes, bytearray)):
        raise WireFormatError(f"the report of {node} has no payload")
    if len(payload) > MAX_REPORT_BYTES:
        raise WireFormatError(f"the report of {node} has {len(payload):,} bytes, over {MAX_REPORT_BYTES:,}")
    try:
        report = ProfileReport.model_validate_json(payload)
    except ValidationError as error:
        raise WireFormatError(f"the report of {node}: {first_problem(error)}") from error
    for profile in report.profiles:
        if profile.node != node:
            raise WireFormatError(f"the report of {node} has a profile of {profile.node}")
    if len({profile.cut for profile in report.profiles}) != len(report.profiles):
        raise WireFormatError(f"the report of {node} has two profiles of one cut model")
    return node, report.profiles


async def collect_profiles(
    broker: BrokerUrl, fleet: str, *, quiet_s: float = 2.0, timeout_s: float = 60.0
) -> Collection:
    """All profiles that the broker holds of a fleet.

    Args:
        quiet_s: done when nothing more has come for so long.
        timeout_s: done then at the latest.
    Raises:
        LinkDownError: the broker cannot be reached or goes away.
        OverloadedError: more than MAX_NODES nodes.
    """
    found = Collection()
    try:
        async with observer(broker, fleet, MAX_REPORT_BYTES + 65536) as client:
            async for message in retained_messages(
                client, [profile_filter(fleet)], quiet_s=quiet_s, timeout_s=timeout_s
            ):
                _take(found, message)
    except aiomqtt.MqttError as error:
        raise LinkDownError(f"no profiles from {broker}: {error}") from error
    return found


def _take(found: Collection, message: aiomqtt.Message) -> None:
    topic = str(message.topic)
    try:
        node, profiles = open_report(topic, message.payload)
    except WireFormatError as error:
        found.refused[topic] = str(error)
        log.warning("profile refused", extra={"reason": str(error)})
    else:
        found.profiles[node] = profiles
    if len(found.profiles) + len(found.refused) > MAX_NODES:
        raise OverloadedError(f"over {MAX_NODES:,} nodes report profiles: collect fleet by fleet")
