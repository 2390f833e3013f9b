"""Every field is an option with its docstring, default and variable, and reaches the function as a setting."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import click
import pytest
from click.testing import CliRunner, Result
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from tercet.cli.settings_options import settings_options
from tercet.settings import ProcessSettings


class OptionSettings(ProcessSettings):
    """For these tests."""

    model_config = SettingsConfigDict(env_prefix="TERCET_INFER_")

    broker_host: str = "localhost"
    """Where the broker listens."""
    wait_s: Annotated[float, Field(gt=0)] = 2.5
    """Longest wait for an answer."""
    frames: Annotated[int, Field(ge=1)]
    """How many frames to send."""
    fallback: bool = True
    """Compute here what nobody answers."""
    photo: tuple[Path, ...] = ()
    """Photos to look at, the first ones first."""
    form: Literal["text", "json"] = "text"
    """What the answer looks like."""
    plan: str | None = None
    """Plan to use instead of the best."""


@click.command()
@settings_options(OptionSettings)
def command(settings: OptionSettings) -> None:
    click.echo(settings.model_dump_json())


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("TERCET_"):
            monkeypatch.delenv(name)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments), catch_exceptions=True)


def settings_of(*arguments: str) -> OptionSettings:
    result = invoke(*arguments)
    assert result.exception is None, result.output
    return OptionSettings.model_validate_json(result.output)


def test_help_shows_every_field_with_its_docstring_and_variable() -> None:
    words = " ".join(invoke("--help").output.split())
    for name, field in OptionSettings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in words
        assert field.description
        assert field.description in words
        assert f"env: TERCET_INFER_{name.upper()}" in words


def test_help_shows_defaults_choices_kinds_and_what_is_required() -> None:
    words = " ".join(invoke("--help").output.split())
    for expected in (
        "default: localhost]",
        "default: 2.5]",
        "default: True]",
        "TERCET_INFER_FRAMES; required]",
        "TERCET_INFER_PLAN]",
        "TERCET_INFER_PHOTO, values separated by commas]",
        "--form text|json",
        "--frames INTEGER",
        "--wait-s NUMBER",
        "--photo PATH",
        "--fallback / --no-fallback",
        "--config FILE",
    ):
        assert expected in words


def test_flags_become_settings() -> None:
    settings = settings_of(
        "--frames", "3", "--no-fallback", "--photo", "a.png", "--photo", "b,c.png", "--form", "json"
    )
    assert settings.frames == 3
    assert settings.fallback is False
    assert settings.photo == (Path("a.png"), Path("b,c.png"))
    assert settings.form == "json"
    assert settings.wait_s == 2.5


def test_a_flag_left_out_lets_the_variable_speak_and_false_is_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERCET_INFER_FALLBACK", "true")
    monkeypatch.setenv("TERCET_INFER_FRAMES", "9")
    monkeypatch.setenv("TERCET_INFER_PHOTO", "a.png,b.png")
    settings = settings_of("--no-fallback")
    assert (settings.fallback, settings.frames) == (False, 9)
    assert settings.photo == (Path("a.png"), Path("b.png"))


def test_a_file_is_read_and_a_missing_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("frames: 4\nphoto: [x.png]")
    assert settings_of("--config", str(path)).frames == 4
    missing = invoke("--config", str(tmp_path / "none.yaml"))
    assert missing.exit_code == 2
    assert "does not exist" in missing.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "0"], "--frames: frames: Input should be greater than or equal to 1"),
        (["--frames", "x"], "--frames: frames: Input should be a valid integer"),
        (["--frames", "1", "--wait-s", "-1"], "--wait-s: wait_s: Input should be greater than 0"),
        (["--frames", "1", "--form", "xml"], "--form: form: Input should be 'text' or 'json'"),
        ([], "neither --frames nor TERCET_INFER_FRAMES nor --config gives frames: Field required"),
    ],
)
def test_a_bad_value_is_one_line_with_the_name(arguments: list[str], message: str) -> None:
    error = invoke(*arguments).exception
    assert type(error).__name__ == "SettingsError"
    assert str(error).startswith(message)
    assert "\n" not in str(error)
