"""The option --store of commands that work on a store of models."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from pydantic_settings import SettingsConfigDict

from tercet.models.store import DEFAULT_STORE, Store
from tercet.settings import ProcessSettings, load_settings


class ModelsSettings(ProcessSettings):
    """Settings of `tercet models`."""

    model_config = SettingsConfigDict(env_prefix="TERCET_MODELS_")

    store: Path = DEFAULT_STORE
    """Directory of models, segments and manifests."""


def with_store(function: Callable[..., None]) -> Callable[..., None]:
    """Adds --store to a command and passes it the `Store` as `store`."""

    @functools.wraps(function)
    def wrapper(store: Path | None, **arguments: Any) -> None:
        settings = load_settings(ModelsSettings, {} if store is None else {"store": store})
        function(store=Store(settings.store), **arguments)

    field = ModelsSettings.model_fields["store"]
    return click.option(
        "--store",
        type=click.Path(file_okay=False, path_type=Path),
        help=f"{field.description}  [env: TERCET_MODELS_STORE; default: {DEFAULT_STORE}]",
    )(wrapper)
