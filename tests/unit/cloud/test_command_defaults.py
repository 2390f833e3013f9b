"""Defaults of commands that follow one another on one machine agree, so that no option must be said twice."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

from tercet.models.store import DEFAULT_STORE
from tercet_cloud.serving.settings import CloudSettings
from tercet_device.settings import DeviceSettings
from tercet_edge.settings import EdgeSettings

# They leave nothing outside the folder they are started in.
APART = ("demo", "bench")


def leaves(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for child, below in command.commands.items():
            yield from leaves(f"{name} {child}", below)
    else:
        yield name, command


COMMANDS = sorted(
    {
        found
        for extra in ("device", "edge", "cloud", "demo")
        for entry in entry_points(group=f"tercet.commands.{extra}")
        if entry.name not in APART
        for found in leaves(entry.name, entry.load())
    },
    key=lambda found: found[0],
)


def defaults(option: str) -> dict[str, object]:
    return {
        name: parameter.default
        for name, command in COMMANDS
        for parameter in command.params
        if f"--{option}" in parameter.opts and isinstance(parameter.default, str | Path)
    }


def test_every_command_looks_for_models_where_models_fetch_puts_them() -> None:
    found = defaults("store")
    assert {"plan", "pipeline run", "steps serve", "cascade calibrate"} <= set(found)
    assert {name: path for name, path in found.items() if path != DEFAULT_STORE} == {}


def test_every_command_means_the_same_fleet() -> None:
    found = defaults("fleet")
    assert {"desired set", "pipeline run", "steps serve"} <= set(found)
    assert set(found.values()) == {"default"}


@pytest.mark.parametrize("settings", [DeviceSettings, EdgeSettings, CloudSettings])
def test_every_node_looks_for_models_where_models_fetch_puts_them(settings: type[CloudSettings]) -> None:
    assert settings.model_fields["store"].default == DEFAULT_STORE


@pytest.mark.parametrize("settings", [DeviceSettings, EdgeSettings])
def test_every_node_is_of_the_same_fleet(settings: type[CloudSettings]) -> None:
    assert settings.model_fields["fleet"].default == "default"
