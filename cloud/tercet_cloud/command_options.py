"""Options that demo and benches share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")

store_option: Decorator = click.option(
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
