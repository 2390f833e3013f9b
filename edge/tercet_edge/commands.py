"""`tercet edge …`"""

from __future__ import annotations

import click

from tercet.cli.settings_options import settings_options
from tercet.cli.supervised import become_supervisor
from tercet.logs import configure_logging
from tercet.process import run_service
from tercet_edge.settings import EdgeSettings


@click.group()
def edge() -> None:
    """The node on an edge gateway: MQTT broker for its devices, middle segments, way to the cloud."""


@edge.command()
@settings_options(EdgeSettings)
def run(settings: EdgeSettings) -> int:
    """Run an edge node until SIGTERM or Ctrl-C.

    Devices publish frames to its broker; it computes the middle segments, sends the rest to the cloud over gRPC
    and publishes the answers. If the cloud cannot answer, it computes the rest itself, and says so.

    \b
    Example:
      tercet edge run --deployment deployment.yaml --cloud-address 127.0.0.1:9000
    """
    if settings.supervise:
        become_supervisor("edge", settings.node, settings)
    # Deferred so that `--help` does not load ONNX Runtime and gRPC.
    from tercet_edge.service import run_edge

    configure_logging("edge", settings.node, settings.log_level, settings.log_format)
    return run_service(lambda shutdown: run_edge(settings, shutdown))
