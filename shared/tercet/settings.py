"""Settings of a process: flags over environment over file over defaults, read once in `main`, then frozen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, get_origin

from pydantic import ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tercet.documents import first_problem, read_yaml
from tercet.errors import SettingsError

PREFIX = "TERCET_"
# One prefix a settings class; a process refuses variables of its own prefix that it does not know,
# and variables of no prefix that anything of Tercet knows.
SECTIONS = ("DEVICE", "EDGE", "CLOUD", "MODELS", "INFER")


class ProcessSettings(BaseSettings):
    """Base of every settings class. Fields carry units in their names and a docstring that `--help` shows.

    A tuple field takes one text with commas wherever text is all there is: TERCET_EDGE_DEPLOYMENT=a.yaml,b.yaml.
    """

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        enable_decoding=False,
        validate_default=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str) or info.field_name is None or not is_tuple(cls.model_fields[info.field_name]):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("*", mode="after")
    @classmethod
    def _find_home(cls, value: object) -> object:
        """A `~` in a path is the user's home, wherever the path comes from."""
        if isinstance(value, tuple):
            return tuple(part.expanduser() if isinstance(part, Path) else part for part in value)
        return value.expanduser() if isinstance(value, Path) else value

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


def is_tuple(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple


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
        name = str(next(iter(error.errors()[0]["loc"]), ""))
        source = _source(kind, name, flags, from_environment, config if name in from_file else None)
        raise SettingsError(f"{source}{first_problem(error)}") from error


def _source(
    kind: type[ProcessSettings], name: str, flags: Mapping[str, Any], environment: set[str], config: Path | None
) -> str:
    """Where the refused value of a setting came from, or where one could come from."""
    flag, variable = f"--{name.replace('_', '-')}", kind.env_prefix() + name.upper()
    if name in flags:
        return f"{flag}: "
    if name in environment:
        return f"{variable}: "
    if config is not None:
        return f"{config}: "
    return f"neither {flag} nor {variable} nor --config gives " if name in kind.model_fields else "settings: "


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
        # Lower case too: pydantic-settings would take it, but not see that it wins over the file.
        if name.upper().startswith(PREFIX) and name not in known and not name.startswith(others):
            raise SettingsError(
                f"environment variable {name} is not a setting; known are {', '.join(sorted(known))}"
            )
