"""No name makes a topic that means more than one device, and no topic names what is no device."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tercet.errors import SpecError, WireFormatError
from tercet.identifiers import NodeId
from tercet.wire.topics import (
    answer_topic,
    device_of,
    infer_topic,
    profile_filter,
    profile_topic,
    shared_infer_filter,
    status_topic,
)

TOPICS: list[Callable[[str, NodeId], str]] = [infer_topic, answer_topic, status_topic, profile_topic]


def test_the_names_on_the_wire_are_these() -> None:
    camera = NodeId("cam-1")
    assert infer_topic("home", camera) == "tercet/v1/home/cam-1/infer"
    assert answer_topic("home", camera) == "tercet/v1/home/cam-1/answer"
    assert status_topic("home", camera) == "tercet/v1/home/cam-1/status"
    assert profile_topic("home", camera) == "tercet/v1/home/cam-1/profile"
    assert profile_filter("home") == "tercet/v1/home/+/profile"
    assert shared_infer_filter("home") == "$share/edge/tercet/v1/home/+/infer"


@pytest.mark.parametrize("make", TOPICS)
@pytest.mark.parametrize("name", ["", "+", "#", "a/b", "a/#", "../b", "a\0", "a\n", "A", "$SYS"])
def test_wildcards_slashes_and_empty_levels_are_refused(make: Callable[[str, NodeId], str], name: str) -> None:
    with pytest.raises(SpecError):
        make("home", NodeId(name))
    with pytest.raises(SpecError):
        make(name, NodeId("cam-1"))
    with pytest.raises(SpecError):
        shared_infer_filter(name)
    with pytest.raises(SpecError):
        profile_filter(name)


@pytest.mark.parametrize("make", TOPICS)
def test_a_topic_names_its_device(make: Callable[[str, NodeId], str]) -> None:
    assert device_of(make("home", NodeId("cam-1"))) == "cam-1"


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "tercet/v1/home/cam-1",
        "tercet/v1/home/cam-1/infer/x",
        "tercet/v2/home/cam-1/infer",
        "/tercet/v1/home/cam-1",
        "tercet/v1/home//infer",
        "tercet/v1/home/+/infer",
        "tercet/v1/home/../infer",
        "tercet/v1/home/cam-1\n/infer",
        "$share/edge/tercet/v1/home/+/infer",
    ],
)
def test_a_topic_that_names_no_device_is_refused(topic: str) -> None:
    with pytest.raises(WireFormatError, match="topic") as caught:
        device_of(topic)
    assert str(caught.value).isprintable()
