"""What device and edge can be told of their journals and clocks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tercet.durable.bounds import Bounds
from tercet.errors import SettingsError
from tercet.identifiers import NodeId
from tercet.limits import MIB
from tercet.settings import load_settings
from tercet.wall_clock import REAL_CLOCK
from tercet_device.settings import DeviceSettings
from tercet_edge.settings import EdgeSettings

DEVICE = {"node": "cam-1", "deployment": Path("deployment.yaml")}
EDGE = {"deployment": (Path("deployment.yaml"),)}


def test_a_node_keeps_its_state_in_a_folder_of_its_own_unless_told() -> None:
    assert load_settings(DeviceSettings, DEVICE).state_folder(NodeId("cam-1")) == Path(".tercet/state/cam-1")
    told = load_settings(DeviceSettings, {**DEVICE, "state": "/var/lib/tercet"})
    assert told.state_folder(NodeId("cam-1")) == Path("/var/lib/tercet")


def test_bounds_are_what_was_said_and_frames_get_as_old_as_they_like_by_default() -> None:
    assert load_settings(DeviceSettings, DEVICE).bounds() == Bounds(max_bytes=256 * MIB)
    assert load_settings(EdgeSettings, EDGE).bounds() == Bounds(max_bytes=1024 * MIB)
    said = {"journal_max_mb": "2", "journal_max_age_s": "60", "journal_policy": "expire-oldest"}
    expected = Bounds(max_bytes=2 * MIB, max_age_s=60, policy="expire-oldest")
    assert load_settings(EdgeSettings, {**EDGE, **said}).bounds() == expected


def test_a_wrong_clock_is_emulated_only_if_said() -> None:
    settings = load_settings(DeviceSettings, DEVICE)
    assert settings.wall_clock().note == ""
    wrong = load_settings(
        DeviceSettings, {**DEVICE, "emulated_clock_offset_s": "-3600", "emulated_clock_jump_s": "1:5"}
    )
    assert wrong.wall_clock().note == "emulated, -3600 s and +5 s after 1 s"
    assert REAL_CLOCK.now_us() - wrong.wall_clock().now_us() > 3000e6


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("journal_max_mb", "0"),
        ("journal_max_age_s", "-1"),
        ("journal_policy", "drop"),
        ("max_tries", "0"),
        ("emulated_clock_jump_s", "soon"),
        ("emulated_clock_offset_s", "inf"),
    ],
)
def test_what_is_impossible_is_refused_by_the_name_of_its_flag(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"--{name.replace('_', '-')}"):
        load_settings(DeviceSettings, {**DEVICE, name: value})
