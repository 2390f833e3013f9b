"""Command line options made from a settings class, so that flags, environment and file can't drift apart."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
from pydantic.fields import FieldInfo

from tercet.settings import ProcessSettings, is_tuple, load_settings

SettingsT = TypeVar("SettingsT", bound=ProcessSettings)


def settings_options(kind: type[SettingsT]) -> Callable[[Callable[[SettingsT], Any]], Callable[..., Any]]:
    """Decorate `f(settings)`: it becomes `f` with --config and one option per field of `kind`.

    A tuple field's option may be repeated. Values are checked by the settings class, not by click.
    """

    def decorate(function: Callable[[SettingsT], Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(config: Path | None, **flags: Any) -> Any:
            given = {name: value for name, value in flags.items() if value not in (None, ())}
            return function(load_settings(kind, given, config))

        decorated: Callable[..., Any] = wrapper
        # Its own settings before those it shares with others.
        fields = sorted(kind.model_fields.items(), key=lambda item: item[0] not in vars(kind)["__annotations__"])
        for name, field in reversed(fields):
            decorated = _option(kind, name, field)(decorated)
        return click.option(
            "--config",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="YAML file of settings, by the names below with '_' for '-'. "
            "Flags win over environment, environment over this file.",
        )(decorated)

    return decorate


def _option(kind: type[ProcessSettings], name: str, field: FieldInfo) -> Callable[[Any], Any]:
    flag = "--" + name.replace("_", "-")
    several = ", values separated by commas" if is_tuple(field) else ""
    variable = kind.env_prefix() + name.upper()
    help_text = f"{field.description or ''}  [env: {variable}{several}{_default_text(field)}]"
    if field.annotation is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=help_text)
    return click.option(flag, name, default=None, multiple=is_tuple(field), metavar=_metavar(field), help=help_text)


def _default_text(field: FieldInfo) -> str:
    if field.is_required():
        return "; required"
    default = field.get_default(call_default_factory=True)
    if default in (None, (), ""):
        return ""
    return f"; default: {', '.join(map(str, default)) if isinstance(default, tuple) else default}"


def _metavar(field: FieldInfo) -> str:
    annotation = field.annotation
    choices = [str(choice) for choice in get_args(annotation) if isinstance(choice, str)]
    if choices:
        return "|".join(choices)
    candidates = [annotation, *get_args(annotation)]
    for kind, metavar in ((Path, "PATH"), (int, "INTEGER"), (float, "NUMBER")):
        if kind in candidates:
            return metavar
    return "TEXT"
