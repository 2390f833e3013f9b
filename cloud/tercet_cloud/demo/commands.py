"""`tercet demo`"""

from __future__ import annotations

from pathlib import Path

import click

from tercet.process import run_service
from tercet_cloud.command_options import json_option, out_option, own_store_option


@click.command()
@click.option("--devices", type=click.IntRange(1, 64), default=2, show_default=True, help="Device processes.")
@click.option(
    "--frames",
    type=click.IntRange(1, 100_000),
    default=64,
    show_default=True,
    help="Photo crops; each is sent once by every plan.",
)
@click.option("--keep", is_flag=True, help="Leave cloud and edge running for `tercet infer`, until Ctrl-C.")
@click.option("--step/--no-step", default=True, help="Slow the first link down and let a device choose plans.")
@click.option(
    "--cascade/--no-cascade", default=True, help="Answer photos by the first of three models that is sure."
)
@json_option
@out_option("demo", "summary.json, photos, results and logs")
@own_store_option
def demo(
    devices: int, frames: int, keep: bool, step: bool, cascade: bool, as_json: bool, out: Path, store: Path
) -> int:
    """Plan EfficientNet-Lite0 for a small camera and gateway, then run it on real photos across all three tiers.

    Measures the network on this machine and plans for a device and an edge that are slower, and for slow links
    between them. Starts a cloud (Ray Serve), an edge (MQTT broker and ONNX segments) and devices as real processes
    on free loopback ports; slower tiers are emulated by sleeping, links by a relay. Compares every plan's latency
    with its prediction, sends every photo crop by the planned way and over all three tiers with the codecs raw,
    fp16 and int8, and compares the answers with the uncut model. Then the first link slows down and recovers while
    a device chooses among plans, and two models answer photos as a calibrated cascade with its audit. Exit status
    0 only if every frame was answered, those with a plan as planned, raw agrees always, fp16 and int8 on at least
    97 % of the photos, and the plan as the planner promised.
    """
    # Deferred so that `--help` is quick.
    from tercet_cloud.demo.run import Demo, DemoOptions

    options = DemoOptions(devices, frames, keep, as_json, out, store, step, cascade)
    return run_service(lambda shutdown: Demo(options).run(shutdown))
