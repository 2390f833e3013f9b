"""`tercet profiles`: what the nodes of a fleet have measured of themselves, collected into files."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tercet.cli.profile_options import write_profile
from tercet.printable import printable
from tercet.profile import Profile

if TYPE_CHECKING:
    from tercet.links.profile_reports import Collection


@click.command()
@click.option(
    "--broker-url",
    default="mqtt://127.0.0.1:1883",
    show_default=True,
    help="The fleet's broker, mqtt://HOST:PORT or mqtts://USER:PASSWORD@HOST:PORT.",
)
@click.option("--fleet", default="default", show_default=True, help="Whose nodes.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".tercet/profiles"),
    show_default=True,
    help="Folder to write to: NODE/MODEL@DIGEST.yaml for each.",
)
@click.option(
    "--wait-s",
    type=click.FloatRange(0.1, 60),
    default=2.0,
    show_default=True,
    help="Done when no profile has come for so long.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON files instead of YAML.")
def profiles(broker_url: str, fleet: str, out: Path, wait_s: float, as_json: bool) -> int:
    """Collect the profiles that a fleet's devices and edges have reported.

    Nodes report where they run with `--profile`, and the broker keeps what they reported. Reports that are not
    what they should be are named and left out, and the exit status is then 65.

    \b
    Example:
      tercet profiles --broker-url mqtt://gateway.local --fleet home --out profiles/
    """
    # Deferred so that `--help` is quick.
    from tercet.errors import NotFoundError
    from tercet.identifiers import check_name
    from tercet.links.broker_url import BrokerUrl
    from tercet.links.mqtt import check_broker
    from tercet.links.profile_reports import collect_profiles

    check_name(fleet, "fleet")
    broker = BrokerUrl.parse(broker_url)

    async def collect() -> Collection:
        await check_broker(broker)
        return await collect_profiles(broker, fleet, quiet_s=wait_s)

    found = asyncio.run(collect())
    written = [
        (profile, _write(profile, out, as_json))
        for _, reported in sorted(found.profiles.items())
        for profile in reported
    ]
    for topic, reason in sorted(found.refused.items()):
        click.echo(f"refused {printable(topic, 200)}: {printable(reason, 500)}", err=True)
    if not written:
        raise NotFoundError(f"no profiles of fleet {fleet} at {broker}: run its nodes with --profile")
    Console().print(_table(written, out))
    return os.EX_DATAERR if found.refused else os.EX_OK


def _write(profile: Profile, out: Path, as_json: bool) -> Path:
    """Node, model and digest have been checked to be names without separators."""
    path = out / profile.node / f"{profile.cut}.{'json' if as_json else 'yaml'}"
    write_profile(profile, path)
    return path


def _table(written: Iterable[tuple[Profile, Path]], out: Path) -> Table:
    table = Table(title=f"profiles in {escape(str(out))}, ms")
    for heading in ("node", "tier", "model", "machine"):
        table.add_column(heading, overflow="fold")
    for heading in ("whole", "error", "emulated"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("file", overflow="fold")
    for profile, path in written:
        table.add_row(
            profile.node,
            profile.tier,
            profile.model,
            escape(printable(profile.hardware.processor, 60)),
            f"{profile.whole_ms:.2f}",
            f"{profile.median_error:.1%}",
            f"{profile.slowdown:g}× slower" if profile.slowdown > 1 else "",
            escape(str(path.relative_to(out))),
        )
    return table
