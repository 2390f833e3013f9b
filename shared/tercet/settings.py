"""Settings of a process: flags over environment over file over defaults, read once in `main`, then frozen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tercet.documents import first_problem, read_yaml
from tercet.errors import SettingsError

PREFIX = "TERCET_"
# One prefix a settings class; a process refuses variables of its own prefix that it does not know,
# and variables of no prefix that anything of Tercet knows.
SECTIONS = ("DEVICE", "EDGE", "CLOUD", "MODELS", "INFER")


class ProcessSettings(BaseSettings):
    """Base of every settings class. Fields carry units in their names and a docstring that `--help` shows."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @classmethod
    def env_prefix(cls) -> str:
        return cls.model_config.get("env_prefix", "")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings)


SettingsT = TypeVar("SettingsT", bound=ProcessSettings)


def load_settings(kind: type[SettingsT], flags: Mapping[str, Any], config: Path | None = None) -> SettingsT:
    """Settings from flags, environment and file, in that order of precedence.

    Args:
        flags: field values given on the command line, without those left out.
        config: a YAML mapping of field names.
    Raises:
        SettingsError: an unknown name or impossible value, and where it came from.
    """
    _refuse_unknown_environment(kind)
    from_file = _read_config(kind, config) if config else {}
    from_environment = {name for name in kind.model_fields if kind.env_prefix() + name.upper() in os.environ}
    below_environment = {name: value for name, value in from_file.items() if name not in from_environment}
    try:
        return kind(**{**below_environment, **flags})
    except ValidationError as error:
        raise SettingsError(f"settings: {first_problem(error)}") from error


def _read_config(kind: type[ProcessSettings], path: Path) -> dict[str, Any]:
    data = read_yaml(path)
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise SettingsError(f"{path}: expected a mapping of settings")
    if unknown := [name for name in data if name not in kind.model_fields]:
        raise SettingsError(f"{path}: unknown setting {unknown[0]!r}; known are {', '.join(kind.model_fields)}")
    return cast(dict[str, Any], data)


def _refuse_unknown_environment(kind: type[ProcessSettings]) -> None:
    own = kind.env_prefix()
    known = {own + name.upper() for name in kind.model_fields}
    others = tuple(f"{PREFIX}{section}_" for section in SECTIONS if f"{PREFIX}{section}_" != own)
    for name in os.environ:
        if name.startswith(PREFIX) and name not in known and not name.startswith(others):
            raise SettingsError(
                f"environment variable {name} is not a setting; known are {', '.join(sorted(known))}"
            )
