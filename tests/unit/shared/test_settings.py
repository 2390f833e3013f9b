"""Flags win over environment, environment over file, file over default; anything unknown or impossible is named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from tercet.errors import ContractError, SettingsError
from tercet.identifiers import NodeId, NodeName
from tercet.settings import ProcessSettings, load_settings


class TestedSettings(ProcessSettings):
    """Like an edge's."""

    __test__ = False
    model_config = SettingsConfigDict(env_prefix="TERCET_EDGE_")

    node: NodeName = NodeId("edge-1")
    """Name."""
    port: Annotated[int, Field(ge=0, le=65535)] = 1883
    """Port."""
    fallback: bool = True
    """Fallback."""
    broker_url: str | None = None
    """Broker."""
    deployment: tuple[Path, ...] = ()
    """Deployments."""
    weights: tuple[float, ...] = (1.0,)
    """Weights."""


class DemandingSettings(ProcessSettings):
    """Wants a value."""

    model_config = SettingsConfigDict(env_prefix="TERCET_CLOUD_")

    deployment: Annotated[tuple[Path, ...], Field(min_length=1)]
    """Deployments."""


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("TERCET_"):
            monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "edge.yaml"


def refusal(flags: dict[str, Any], config: Path | None = None) -> str:
    with pytest.raises(ContractError) as caught:
        load_settings(TestedSettings, flags, config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_each_source_wins_over_those_below_it(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    def port(**flags: int) -> int:
        return load_settings(TestedSettings, flags, config).port

    config.write_text("{}")
    assert port() == 1883
    config.write_text("port: 2")
    assert port() == 2
    monkeypatch.setenv("TERCET_EDGE_PORT", "3")
    assert port() == 3
    assert port(port=4) == 4


def test_sources_mix_field_by_field(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    config.write_text("node: from-file\nport: 2")
    monkeypatch.setenv("TERCET_EDGE_PORT", "3")
    settings = load_settings(TestedSettings, {"broker_url": "mqtt://b"}, config)
    assert (settings.node, settings.port, settings.broker_url) == ("from-file", 3, "mqtt://b")


def test_a_file_does_not_hide_a_bad_variable(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    config.write_text("port: 2")
    monkeypatch.setenv("TERCET_EDGE_PORT", "many")
    assert refusal({}, config).startswith("TERCET_EDGE_PORT: port: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.yaml", ["a.yaml"]),
        ("a.yaml,b.yaml", ["a.yaml", "b.yaml"]),
        (" a b.yaml , /b.yaml,", ["a b.yaml", "/b.yaml"]),
        ("", []),
    ],
)
def test_a_tuple_is_one_text_with_commas_in_environment_and_file(
    monkeypatch: pytest.MonkeyPatch, config: Path, text: str, expected: list[str]
) -> None:
    config.write_text(f"deployment: '{text}'")
    assert load_settings(TestedSettings, {}, config).deployment == tuple(map(Path, expected))
    monkeypatch.setenv("TERCET_EDGE_DEPLOYMENT", text)
    assert load_settings(TestedSettings, {}).deployment == tuple(map(Path, expected))


def test_a_tuple_is_a_list_in_a_file_and_repeated_as_a_flag(config: Path) -> None:
    config.write_text("deployment: [a.yaml, 'b,c.yaml']")
    assert load_settings(TestedSettings, {}, config).deployment == (Path("a.yaml"), Path("b,c.yaml"))
    flags = {"deployment": ("x,y.yaml",)}
    assert load_settings(TestedSettings, flags, config).deployment == (Path("x,y.yaml"),)


def test_numbers_in_a_tuple_are_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERCET_EDGE_WEIGHTS", "1, 2.5")
    assert load_settings(TestedSettings, {}).weights == (1.0, 2.5)
    monkeypatch.setenv("TERCET_EDGE_WEIGHTS", "1,x")
    assert refusal({}).startswith("TERCET_EDGE_WEIGHTS: weights.1: ")


@pytest.mark.parametrize(("text", "expected"), [("true", True), ("0", False), ("no", False)])
def test_a_switch_can_be_set_by_environment(monkeypatch: pytest.MonkeyPatch, text: str, expected: bool) -> None:
    monkeypatch.setenv("TERCET_EDGE_FALLBACK", text)
    assert load_settings(TestedSettings, {}).fallback is expected


@pytest.mark.parametrize(
    "name", ["TERCET_EDGE_PROT", "TERCET_PORT", "TERCET_", "TERCET_EDGE_", "TERCET_EDGE_port", "tercet_edge_port"]
)
def test_an_unknown_variable_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    message = refusal({})
    assert message.startswith(f"environment variable {name} is not a setting")
    assert "TERCET_EDGE_PORT" in message


def test_variables_of_other_tiers_and_other_programs_are_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TERCET_CLOUD_ANYTHING", "TERCET_DEVICE_NODE", "EDGE_PORT", "XTERCET_EDGE_PROT"):
        monkeypatch.setenv(name, "x")
    assert load_settings(TestedSettings, {}) == load_settings(TestedSettings, {"port": 1883})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot: 1", "unknown setting 'prot'; known are node, port"),
        ("1: 1", "unknown setting 1"),
        ("- port", "expected a mapping"),
        ("just text", "expected a mapping"),
        ("port: [", "not YAML"),
        ("port: many", "port: Input should be a valid integer"),
        ("port:", "port: Input should be a valid integer"),
        ("deployment: {a: 1}", "deployment: Input should be a valid tuple"),
    ],
)
def test_a_bad_file_is_refused_with_its_path_and_the_name(config: Path, text: str, message: str) -> None:
    config.write_text(text)
    found = refusal({}, config)
    assert found.startswith(str(config))
    assert message in found


def test_an_empty_file_says_nothing(config: Path) -> None:
    config.write_text("# nothing yet\n")
    assert load_settings(TestedSettings, {}, config).port == 1883


def test_a_bad_flag_is_refused_by_its_name() -> None:
    assert refusal({"port": "70000"}).startswith("--port: port: Input should be less than or equal to 65535")
    assert refusal({"broker_url": 3}).startswith("--broker-url: broker_url: ")


def test_a_bad_node_name_is_refused() -> None:
    assert "'Edge/1' is not allowed" in refusal({"node": "Edge/1"})


def test_a_setting_that_nobody_gave_says_how_to_give_it() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(DemandingSettings, {})
    assert str(caught.value) == (
        "neither --deployment nor TERCET_CLOUD_DEPLOYMENT nor --config gives deployment: Field required"
    )


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings(TestedSettings, {}).port = 5
