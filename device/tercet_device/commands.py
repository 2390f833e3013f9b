"""`tercet device …`"""

from __future__ import annotations

import click

from tercet.cli.settings_options import settings_options
from tercet.cli.supervised import become_supervisor
from tercet.logs import configure_logging
from tercet.process import run_service
from tercet.supervision import status_of_work
from tercet_device.settings import DeviceSettings


@click.group()
def device() -> None:
    """The agent on an IoT device: runs the first segments and asks the edge for the rest."""


@device.command()
@settings_options(DeviceSettings)
def run(settings: DeviceSettings) -> int:
    """Run a device agent until its photos are done, or SIGTERM or Ctrl-C.

    It computes the head of the network, codes the boundary, publishes it to the edge's MQTT broker and waits for
    the answer. If none comes in time it computes the rest itself, and says so.

    With --delivery durable frames wait on this device's disk until an edge has them on its own, and their results
    are stored in the cloud (`tercet results`); exit status 75 if some are left here.

    \b
    Example:
      tercet device run --node cam-1 --deployment deployment.yaml --source photos/
      tercet device run --node cam-1 --deployment deployment.yaml --source photos/ --delivery durable
    """
    if settings.supervise:
        become_supervisor("device", settings.node, settings)
    # Deferred so that `--help` does not load ONNX Runtime.
    from tercet_device.service import run_device

    configure_logging("device", settings.node, settings.log_level, settings.log_format)
    return status_of_work(run_service(lambda shutdown: run_device(settings, shutdown)))
