"""`tercet plan`"""

from __future__ import annotations

from pathlib import Path

import click

from tercet.errors import SpecError
from tercet_cloud.command_options import json_option, out_option, store_option

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("model", required=False)
@click.option(
    "--topology",
    type=_FILE,
    help="Your machines, links, constraints and objective; docs/examples/topology.yaml has every key. Default: "
    "this one machine over loopback.",
)
@click.option("--fleet", type=_FILE, help="Plan many cohorts of devices that share edges, links and cloud.")
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    metavar="TIER=FILE",
    help="What `tercet profile` measured on a tier; goes before the topology's. Tiers without one are measured "
    "here, times their stated slow-down.",
)
@click.option(
    "--photos",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of photos to measure bytes and accuracy on. Default: sample photos.",
)
@click.option("--labelled", is_flag=True, help="The photos are named …_LABEL.jpg, with the index of their class.")
@click.option(
    "--inputs",
    type=_FILE,
    help="For models that take tensors: an .npz with an array for each input, the first axis counting frames.",
)
@click.option(
    "--shape", "shapes", multiple=True, metavar="INPUT=1x3x48x320", help="Size of an input with free axes."
)
@click.option(
    "--frames",
    type=click.IntRange(1, 100_000),
    default=160,
    show_default=True,
    help="To measure accuracy on: the more, the smaller the drop that they can prove.",
)
@click.option("--measure-again", is_flag=True, help="Use nothing that was measured before.")
@click.option("--explain", is_flag=True, help="Say why the runner-up and others lost.")
@click.option("--html", type=_FILE, help="Also write one page with the network, the curves and the map of plans.")
@click.option(
    "--table",
    is_flag=True,
    help="Also find the few plans that together are nearly the best over a range of links and deadlines, and "
    "deploy them all.",
)
@click.option("--conditions", type=_FILE, help="The range for --table; without, a usual one.")
@json_option
@out_option("plan", "deployment.yaml and plan.json")
@store_option
def plan(
    model: str | None,
    topology: Path | None,
    fleet: Path | None,
    profiles: tuple[str, ...],
    photos: Path | None,
    labelled: bool,
    inputs: Path | None,
    shapes: tuple[str, ...],
    frames: int,
    measure_again: bool,
    explain: bool,
    html: Path | None,
    table: bool,
    conditions: Path | None,
    as_json: bool,
    out: Path,
    store: Path,
) -> None:
    """Find where to cut MODEL over device, edge and cloud, and with which codecs: the exact best, measured.

    Prints the best plan beside every baseline, and writes a deployment that all tiers can run. Bytes, times and
    accuracy are measured on this machine, unless --profile says what others need; what was measured is kept in the
    store.

    \b
    tercet plan efficientnet-lite0
    tercet plan efficientnet-lite0 --topology topology.yaml --explain --html plan.html
    """
    if fleet is not None:
        if model is not None or topology is not None:
            raise SpecError("--fleet: the fleet file names models and topology; leave out MODEL and --topology")
        # Deferred so that `--help` is quick.
        from tercet_cloud.planner.fleet.command import FleetOptions, run_fleet_plan

        run_fleet_plan(
            FleetOptions(
                fleet=fleet,
                photos=photos,
                labelled=labelled,
                frames=frames,
                measure_again=measure_again,
                as_json=as_json,
                out=out,
                store=store,
            )
        )
        return
    if model is None:
        raise SpecError("which model? `tercet models list` shows what there is: tercet plan MODEL")
    from tercet_cloud.planner.plan_command import PlanOptions, plan_command

    plan_command(
        PlanOptions(
            model=model,
            topology=topology,
            profiles=profiles,
            photos=photos,
            labelled=labelled,
            inputs=inputs,
            shapes=shapes,
            frames=frames,
            measure_again=measure_again,
            explain=explain,
            as_json=as_json,
            html=html,
            table=table,
            conditions=conditions,
            out=out,
            store=store,
        )
    )
