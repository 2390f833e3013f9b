"""A report is taken only from the node it is about, and only if it is one."""

from __future__ import annotations

import json

import pytest

from support.profiles import made_up_profile
from tercet.errors import FrameTooLargeError, WireFormatError
from tercet.identifiers import NodeId
from tercet.links.profile_reports import MAX_REPORT_BYTES, open_report, retained_report, seal_report
from tercet.profile import KernelTime

TOPIC = "tercet/v1/home/cam-1/profile"


def test_a_report_gives_back_what_was_reported() -> None:
    profiles = (made_up_profile(), made_up_profile(digest="ba9876543210"))
    assert open_report(TOPIC, seal_report(profiles)) == ("cam-1", profiles)


def test_a_node_without_profiles_reports_nothing() -> None:
    assert retained_report("home", NodeId("cam-1"), ()) == {}
    assert list(retained_report("home", NodeId("cam-1"), [made_up_profile()])) == [TOPIC]


def test_a_report_over_the_limit_is_not_sent() -> None:
    kernels = [KernelTime(node="n" * 1000, op_type="Conv", ms=1.0) for _ in range(1100)]
    with pytest.raises(FrameTooLargeError, match="fewer segments"):
        seal_report([made_up_profile(kernels=[kernels])])


def test_a_report_of_another_node_is_refused() -> None:
    with pytest.raises(WireFormatError, match=r"cam-2.*cam-1"):
        open_report("tercet/v1/home/cam-2/profile", seal_report([made_up_profile()]))


def test_two_profiles_of_one_cut_are_refused() -> None:
    report = json.dumps({"profiles": [made_up_profile().model_dump(mode="json")] * 2}).encode()
    with pytest.raises(WireFormatError, match="two profiles of one cut"):
        open_report(TOPIC, report)


@pytest.mark.parametrize(
    "payload",
    [
        None,
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"profiles": []}',
        b'{"format": 2, "profiles": []}',
        b"[" * 100_000,
        b'{"profiles": ' + b"9" * 10_000 + b"}",
        b'{"profiles": [{"model": "../x"}]}',
        b"x" * (MAX_REPORT_BYTES + 1),
        seal_report([made_up_profile()])[:-2],
        seal_report([made_up_profile()]).replace(b"2.0", b"NaN"),
        seal_report([made_up_profile()]).replace(b"2.0", b"1e999"),
        seal_report([made_up_profile()]).replace(b"tiny@", b"tiny@../"),
        seal_report([made_up_profile()]).replace(b'{"profiles"', b'{"extra":1,"profiles"'),
    ],
)
def test_garbage_is_refused_in_one_short_line(payload: object) -> None:
    with pytest.raises(WireFormatError, match="cam-1") as caught:
        open_report(TOPIC, payload)
    assert len(str(caught.value)) < 1000


def test_a_topic_that_is_no_nodes_is_refused() -> None:
    with pytest.raises(WireFormatError, match="topic"):
        open_report("tercet/v1/home/../profile", seal_report([made_up_profile()]))
