"""`tercet desired`: what an operator wants nodes to serve, and what they say of it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tercet.printable import printable

if TYPE_CHECKING:
    from tercet.identifiers import NodeId
    from tercet.links.broker_url import BrokerUrl
    from tercet.links.shadow_desk import NodeState

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
ResultT = TypeVar("ResultT")


@click.group()
def desired() -> None:
    """What nodes shall serve. The broker keeps it; nodes take the newest version that they can, and say so."""


def _options(function: FunctionT) -> FunctionT:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table."),
        click.option("--fleet", default="default", show_default=True, help="Whose nodes."),
        click.option(
            "--broker-url",
            default="mqtt://127.0.0.1:1883",
            show_default=True,
            help="The fleet's broker, mqtt://HOST:PORT or mqtts://USER:PASSWORD@HOST:PORT.",
        ),
    ):
        function = option(function)
    return function


@desired.command("set")
@click.argument("node")
@click.option(
    "--deployment",
    "deployments",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="deployment.yaml to serve; may be repeated for an edge.",
)
@click.option(
    "--version",
    type=click.IntRange(1, (1 << 53) - 1),
    help="Of what is wanted; the highest wins. Default: one more than any that the broker knows of.",
)
@click.option(
    "--wait-s",
    type=click.FloatRange(0, 3600),
    default=0.0,
    show_default=True,
    help="Wait so long for the node's report.",
)
@_options
def set_(
    node: str,
    deployments: tuple[Path, ...],
    version: int | None,
    wait_s: float,
    broker_url: str,
    fleet: str,
    as_json: bool,
) -> int:
    """Have NODE serve these deployments, from now on and after every restart.

    The node must have the models in its store. It goes on with what it has if it cannot do what is wanted, and says
    why. With --wait-s the exit status is 65 if it refuses, and 75 if it does not report in time.

    \b
    Example:
      tercet desired set cam-1 --deployment deployment.yaml --broker-url mqtt://gateway.local --wait-s 10
    """
    # Deferred so that `--help` is quick.
    from tercet.links.shadow_desk import publish_desired, wait_reported
    from tercet.plans import read_deployment
    from tercet.shadows.documents import Reported

    wanted = [read_deployment(path) for path in deployments]

    async def work(broker: BrokerUrl, name: NodeId) -> tuple[int, Reported | None]:
        published = await publish_desired(broker, fleet, name, wanted, version)
        if not wait_s:
            return published.version, None
        return published.version, await wait_reported(broker, fleet, name, published.version, timeout_s=wait_s)

    published, reported = _run(broker_url, fleet, node, work)
    if as_json:
        told = reported.model_dump(mode="json") if reported else None
        click.echo(json.dumps({"node": node, "version": published, "reported": told}, indent=2))
    else:
        said = "" if reported is None else f": {reported.status}{_because(reported.reason)}"
        click.echo(f"{node}: version {published}{said}")
    return os.EX_DATAERR if reported is not None and reported.status == "refused" else os.EX_OK


@desired.command()
@click.argument("node")
@_options
def show(node: str, broker_url: str, fleet: str, as_json: bool) -> int:
    """What is wanted of NODE, and what it reports. Exit status 66 if the broker knows nothing of it.

    \b
    Example:
      tercet desired show cam-1 --broker-url mqtt://gateway.local
    """
    from tercet.errors import NotFoundError
    from tercet.links.shadow_desk import collect_states

    found = _run(broker_url, fleet, node, lambda broker, name: collect_states(broker, fleet, name))
    _tell_refused(found.refused)
    state = next(iter(found.nodes.values()), None)
    if state is None or (state.desired is None and state.reported is None):
        raise NotFoundError(f"the broker knows nothing of node {node} of fleet {fleet}: is it the right one?")
    if as_json:
        click.echo(json.dumps(_plain(node, state), indent=2))
        return os.EX_OK
    click.echo(f"{node}: {state.summary}")
    if state.desired:
        models = ", ".join(deployment.model for deployment in state.desired.deployments)
        click.echo(f"  desired   version {state.desired.version}: {printable(models)}")
    if state.reported:
        models = printable(", ".join(state.reported.models)) or "nothing"
        because = _because(state.reported.reason)
        click.echo(f"  reported  version {state.reported.version}, {state.reported.status}{because}")
        click.echo(f"  runs      version {state.reported.running}: {models}")
    return os.EX_OK


@desired.command("list")
@_options
def list_(broker_url: str, fleet: str, as_json: bool) -> int:
    """What is wanted of every node of a fleet beside what it reports.

    \b
    Example:
      tercet desired list --broker-url mqtt://gateway.local --json
    """
    from tercet.links.shadow_desk import collect_states

    found = _run(broker_url, fleet, None, lambda broker, _: collect_states(broker, fleet))
    _tell_refused(found.refused)
    if as_json:
        click.echo(json.dumps([_plain(node, state) for node, state in sorted(found.nodes.items())], indent=2))
    else:
        Console().print(_table(fleet, found.nodes))
    return os.EX_DATAERR if found.refused else os.EX_OK


def _run(
    broker_url: str, fleet: str, node: str | None, work: Callable[[BrokerUrl, Any], Awaitable[ResultT]]
) -> ResultT:
    from tercet.identifiers import NodeId, check_name
    from tercet.links.broker_url import BrokerUrl
    from tercet.links.mqtt import check_broker

    check_name(fleet, "fleet")
    name = None if node is None else NodeId(check_name(node, "node"))
    broker = BrokerUrl.parse(broker_url)

    async def checked() -> ResultT:
        await check_broker(broker)
        return await work(broker, name)

    return asyncio.run(checked())


def _plain(node: str, state: NodeState) -> dict[str, object]:
    return {
        "node": node,
        "state": state.summary,
        "desired": state.desired.model_dump(mode="json", exclude_none=True) if state.desired else None,
        "reported": state.reported.model_dump(mode="json") if state.reported else None,
    }


def _table(fleet: str, nodes: Mapping[NodeId, NodeState]) -> Table:
    table = Table(title=f"nodes of fleet {escape(fleet)}")
    for heading in ("node", "tier"):
        table.add_column(heading, overflow="fold")
    for heading in ("desired", "reported"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("state", "models", "reason"):
        table.add_column(heading, overflow="fold")
    for node, state in sorted(nodes.items()):
        reported = state.reported
        table.add_row(
            node,
            reported.tier.value if reported else "",
            str(state.desired.version) if state.desired else "",
            str(reported.version) if reported else "",
            state.summary,
            escape(printable(", ".join(reported.models))) if reported else "",
            escape(printable(reported.reason)) if reported else "",
        )
    return table


def _because(reason: str) -> str:
    return f" ({printable(reason)})" if reason else ""


def _tell_refused(refused: Mapping[str, str]) -> None:
    for topic, reason in sorted(refused.items()):
        click.echo(f"passed over {printable(topic, 200)}: {printable(reason, 500)}", err=True)
