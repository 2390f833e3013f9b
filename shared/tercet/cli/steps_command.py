"""`tercet steps`: let a node run steps of pipelines."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from tercet.logs import configure_logging
from tercet.models.store import DEFAULT_STORE, Store
from tercet.process import Shutdown, run_service, until_shutdown


@click.group()
def steps() -> None:
    """Steps of pipelines on this device or edge."""


@steps.command()
@click.option("--node", required=True, help="This node's name, as pipelines say it in `at:`.")
@click.option("--tier", type=click.Choice(["device", "edge"]), required=True)
@click.option("--broker-url", required=True, help="mqtt://HOST:PORT")
@click.option("--fleet", default="default", show_default=True)
@click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_STORE,
    show_default=True,
    help="Folder of models.",
)
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    metavar="MODULE:FUNCTION",
    help="A function that may run here, with * and ?; repeat for more. Built-ins always may.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Steps at once.")
@click.option("--log-level", default="info", show_default=True)
def serve(
    node: str,
    tier: str,
    broker_url: str,
    fleet: str,
    store: Path,
    allowed: tuple[str, ...],
    workers: int,
    log_level: str,
) -> int:
    """Run steps of pipelines until Ctrl-C or SIGTERM.

    Runs built-ins, whole models of the store, and functions named by --allow; nothing else.
    """
    # Deferred so that `--help` is quick.
    from tercet.identifiers import NodeId, check_name
    from tercet.links.broker_url import BrokerUrl
    from tercet.steps.step_host import StepHost
    from tercet.steps.step_port import StepPort
    from tercet.tiers import Tier

    configure_logging(tier, node, log_level, "text")
    name = NodeId(check_name(node, "node"))
    port = StepPort(StepHost(Store(store), allowed), name, fleet, Tier(tier), workers=workers)

    async def main(broker: BrokerUrl, shutdown: Shutdown) -> int:
        await until_shutdown(shutdown, port.serve(broker))
        return 0

    return run_service(partial(main, BrokerUrl.parse(broker_url)))
