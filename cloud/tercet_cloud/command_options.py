"""Options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tercet.models.store import DEFAULT_STORE

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")

store_option: Decorator = click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_STORE,
    callback=lambda context, parameter, path: path.expanduser(),
    show_default=True,
    envvar="TERCET_MODELS_STORE",
    show_envvar=True,
    help="Folder of models, segments, measurements and calibrations.",
)

# Demo and benches leave nothing outside the folder they are started in.
own_store_option: Decorator = click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".tercet/store"),
    show_default=True,
    help="Folder of models, segments and calibrations; kept between runs.",
)


def out_option(name: str, what: str) -> Decorator:
    """--out: where a run's files go, by default `.tercet/NAME`."""
    return click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(".tercet") / name,
        show_default=True,
        help=f"Folder for {what}.",
    )
