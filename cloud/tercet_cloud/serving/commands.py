"""`tercet cloud`: serve the cloud's part of models, and ask a cloud what it serves."""

from __future__ import annotations

import asyncio
import json
from functools import partial

import click
from rich.console import Console
from rich.table import Table

from tercet.cli.settings_options import settings_options
from tercet.cli.supervised import become_supervisor
from tercet.logs import configure_logging
from tercet.process import run_service
from tercet_cloud.serving.inference_client import describe
from tercet_cloud.serving.redeploy_command import redeploy
from tercet_cloud.serving.service import run_cloud
from tercet_cloud.serving.settings import CloudSettings


@click.group()
def cloud() -> None:
    """The cloud: runs the last part of every model for the edges that call it."""


@cloud.command()
@settings_options(CloudSettings)
def run(settings: CloudSettings) -> int:
    """Serve deployed models over gRPC until Ctrl-C or SIGTERM.

    Starts Ray on this machine (or joins a cluster with --ray-address), loads the segments that the plans give
    to the cloud into --replicas actors, and answers frames on --host:--port. /readyz on the health port says
    200 once a real call succeeded. Requests under way are finished before it leaves, within --drain-s; a second
    Ctrl-C leaves at once. SIGHUP (`tercet cloud redeploy`) has the deployment files read again and rolled out.
    If Ray itself dies the process ends with status 75: it may be started again at once.

    \b
    Example:
      tercet models fetch efficientnet-lite0
      tercet models slice efficientnet-lite0
      tercet cloud run --deployment deployment.yaml
    """
    if settings.supervise:
        become_supervisor("cloud", settings.node, settings)
    configure_logging("cloud", settings.node, settings.log_level, settings.log_format)
    return run_service(partial(run_cloud, settings))


cloud.add_command(redeploy)


@cloud.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the cloud listens.")
@click.option("--port", default=9000, show_default=True, help="Its gRPC port.")
@click.option("--timeout-s", default=5.0, show_default=True, help="How long to wait for an answer.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def status(host: str, port: int, timeout_s: float, as_json: bool) -> None:
    """Ask a running cloud which models and plans it serves."""
    answer = asyncio.run(describe(host, port, timeout_s=timeout_s))
    models = {served.model: list(served.plans) for served in answer.models}
    if as_json:
        described = {"version": answer.version, "max_frame_bytes": answer.max_frame_bytes, "models": models}
        click.echo(json.dumps(described, indent=2))
        return
    table = Table("model", "plans", title=f"tercet cloud {answer.version} at {host}:{port}")
    for model, plans in models.items():
        table.add_row(model, ", ".join(plans))
    Console().print(table)
