"""The names on the MQTT wire, all of them.

tercet/v1/{fleet}/{device}/infer      frames, device → edge (edges share the subscription)
tercet/v1/{fleet}/{device}/answer     answers, edge → device
tercet/v1/{fleet}/{device}/replan     requests for another plan table, device → edge (shared as frames are)
tercet/v1/{fleet}/{device}/deliver    durable frames, device → any edge (shared as frames are)
tercet/v1/{fleet}/{edge}/custody      durable frames, device → the edge that has taken its frames before
tercet/v1/{fleet}/{device}/ack        what an edge has taken of a device's durable frames, edge → device
tercet/v1/{fleet}/{node}/desired      retained: what an operator wants of a node
tercet/v1/{fleet}/{node}/reported     retained: what a node says it runs
tercet/v1/{fleet}/{device}/status     retained birth and last will of a node
tercet/v1/{fleet}/{device}/profile    retained profiles that a node has measured of itself
tercet/v1/{fleet}/{node}/step         steps of pipelines, to that node's step host
tercet/v1/{fleet}/{asker}/anystep     steps of pipelines, to any edge's step host (shared as frames are)
tercet/v1/{fleet}/{asker}/stepped     results of steps, to who asked
tercet/v1/{fleet}/{node}/event        keys that a node says have another content now
"""

from __future__ import annotations

from tercet.errors import SpecError, WireFormatError
from tercet.identifiers import NodeId, check_name

ROOT = "tercet/v1"


def infer_topic(fleet: str, device: NodeId) -> str:
    return f"{ROOT}/{check_name(fleet, 'fleet')}/{check_name(device, 'device')}/infer"


def answer_topic(fleet: str, device: NodeId) -> str:
    return f"{ROOT}/{check_name(fleet, 'fleet')}/{check_name(device, 'device')}/answer"


def replan_topic(fleet: str, device: NodeId) -> str:
    return f"{ROOT}/{check_name(fleet, 'fleet')}/{check_name(device, 'device')}/replan"


def deliver_topic(fleet: str, device: NodeId) -> str:
    return f"{ROOT}/{check_name(fleet, 'fleet')}/{check_name(device, 'device')}/deliver"


def custody_topic(fleet: str, edge: NodeId) -> str:
    return f"{ROOT}/{check_name(fleet, 'fleet')}/{check_name(edge, 'edge')}/custody"


def ack_topic(fleet: str, device: NodeId) -> str:
    return f"{ROOT}/{check_name(fleet, 'fleet')}/{check_name(device, 'device')}/ack"


def desired_topic(fleet: str, node: NodeId) -> str:
    return f"{ROOT}/{check_name(fleet, 'fleet')}/{check_name(node, 'node')}/desired"


def reported_topic(fleet: str, node: NodeId) -> str:
    return f"{ROOT}/{check_name(fleet, 'fleet')}/{check_name(node, 'node')}/reported"


def status_topic(fleet: str, node: NodeId) -> str:
    return f"{ROOT}/{check_name(fleet, 'fleet')}/{check_name(node, 'node')}/status"


def profile_topic(fleet: str, node: NodeId) -> str:
    return f"{ROOT}/{check_name(fleet, 'fleet')}/{check_name(node, 'node')}/profile"


def step_topic(fleet: str, node: NodeId) -> str:
    return f"{ROOT}/{check_name(fleet, 'fleet')}/{check_name(node, 'node')}/step"


def any_step_topic(fleet: str, asker: NodeId) -> str:
    return f"{ROOT}/{check_name(fleet, 'fleet')}/{check_name(asker, 'node')}/anystep"


def stepped_topic(fleet: str, asker: NodeId) -> str:
    return f"{ROOT}/{check_name(fleet, 'fleet')}/{check_name(asker, 'node')}/stepped"


def event_topic(fleet: str, node: NodeId) -> str:
    return f"{ROOT}/{check_name(fleet, 'fleet')}/{check_name(node, 'node')}/event"


def event_filter(fleet: str) -> str:
    """All changes of keys in a fleet."""
    return f"{ROOT}/{check_name(fleet, 'fleet')}/+/event"


def shared_step_filter(fleet: str) -> str:
    """The shared subscription by which the edges of a fleet divide steps that any of them may run."""
    return f"$share/edge-step/{ROOT}/{check_name(fleet, 'fleet')}/+/anystep"


def profile_filter(fleet: str) -> str:
    """All profiles that nodes of a fleet have reported."""
    return f"{ROOT}/{check_name(fleet, 'fleet')}/+/profile"


def desired_filter(fleet: str) -> str:
    """What is wanted of all nodes of a fleet."""
    return f"{ROOT}/{check_name(fleet, 'fleet')}/+/desired"


def reported_filter(fleet: str) -> str:
    """What all nodes of a fleet say they run."""
    return f"{ROOT}/{check_name(fleet, 'fleet')}/+/reported"


def shared_infer_filter(fleet: str) -> str:
    """The shared subscription by which the edges of a fleet divide its frames among them."""
    return f"$share/edge/{ROOT}/{check_name(fleet, 'fleet')}/+/infer"


def shared_replan_filter(fleet: str) -> str:
    """The shared subscription for requests for plan tables, which are answered as frames are.

    A group of its own: the embedded broker knows a group by its name alone, and loses what has another filter.
    """
    return f"$share/edge-replan/{ROOT}/{check_name(fleet, 'fleet')}/+/replan"


def shared_deliver_filter(fleet: str) -> str:
    """The shared subscription for durable frames of devices that know no edge yet."""
    return f"$share/edge-deliver/{ROOT}/{check_name(fleet, 'fleet')}/+/deliver"


def is_replan(topic: str) -> bool:
    """Whether a message on the topic is a request for a plan table."""
    return topic.endswith("/replan")


def is_delivery(topic: str) -> bool:
    """Whether a message on the topic holds durable frames."""
    return topic.endswith(("/deliver", "/custody"))


def device_of(topic: str) -> NodeId:
    """The device that owns a topic; WireFormatError if the topic is not one of ours."""
    levels = topic.split("/")
    if len(levels) != 5 or "/".join(levels[:2]) != ROOT:
        raise WireFormatError(f"topic {topic!r} is not {ROOT}/FLEET/DEVICE/KIND")
    try:
        return NodeId(check_name(levels[3], "device"))
    except SpecError as error:
        raise WireFormatError(f"topic {topic!r}: {error}") from error
