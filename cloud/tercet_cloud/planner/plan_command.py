"""`tercet plan MODEL`: options to a plan; the plan to screen and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import click
from rich.console import Console

from tercet.documents import parse_document, read_document, read_yaml, write_atomically, write_document
from tercet.errors import NotFoundError, SettingsError, SpecError
from tercet.models.card import ModelCard
from tercet.models.store import Store
from tercet.tiers import Tier
from tercet_cloud.measurement.input_shapes import parse_shape_options
from tercet_cloud.measurement.sample_frames import FrameSource
from tercet_cloud.models.catalog import CATALOG, fetch_model
from tercet_cloud.planner.block_costing import block_costs
from tercet_cloud.planner.costs.conditions import ConditionRange
from tercet_cloud.planner.costs.topology import Topology, read_topology
from tercet_cloud.planner.deployable import deploy_plans
from tercet_cloud.planner.planning import Planned, PlanRequest, plan_model
from tercet_cloud.planner.progress_bars import ProgressBars
from tercet_cloud.planner.report.plan_json import report_json
from tercet_cloud.planner.report.table_words import print_table, table_dict
from tercet_cloud.planner.report.text_table import print_plan

DEFAULT_TOPOLOGY = "default_topology.yaml"


@dataclass(frozen=True)
class PlanOptions:
    """The command's options; see `tercet plan --help`."""

    model: str
    topology: Path | None
    profiles: tuple[str, ...]
    photos: Path | None
    labelled: bool
    inputs: Path | None
    shapes: tuple[str, ...]
    frames: int
    measure_again: bool
    explain: bool
    as_json: bool
    html: Path | None
    table: bool
    conditions: Path | None
    out: Path
    store: Path


def plan_command(options: PlanOptions) -> None:
    """Plan, write and print. What can be known to be wrong before measuring is said before."""
    profiles = _profile_files(options.profiles)
    frames = FrameSource(
        photos=options.photos,
        labelled=options.labelled,
        inputs=options.inputs,
        shapes=parse_shape_options(options.shapes),
        evaluation_frames=options.frames,
    )
    _require_folder(options.out, "--out")
    if options.html is not None:
        _require_folder(options.html.parent, "--html")
    topology, folder = _topology(options)
    store = Store(options.store)
    progress = Console(stderr=True)
    card = _find_model(store, options.model, progress)
    request = PlanRequest(
        topology,
        folder,
        profiles,
        frames,
        options.measure_again,
        pictures=options.html is not None,
        conditions=_conditions(options),
    )
    with ProgressBars(progress) as bars:
        planned = plan_model(store, card, request, bars)
    written = _write(planned, options)
    if options.as_json:
        click.echo(_json(planned), nl=False)
        return
    console = Console()
    print_plan(planned.report, console, explain=options.explain)
    if planned.table is not None:
        print_table(planned.table, planned.table_rows(), planned.report.graph, console)
    console.print(f"Written: {', '.join(map(str, written))}", style="dim", soft_wrap=True, highlight=False)


def _write(planned: Planned, options: PlanOptions) -> list[Path]:
    """Segments into the store; deployment, JSON and page."""
    model, report = planned.model, planned.report
    rows = planned.deployed_rows()
    deployment = deploy_plans(model.store, model.card, model.graph, planned.coding, rows)
    if planned.cost.topology.constraints.max_device_energy_mj is None:
        cuts = {cut for row in rows.values() for cut in (row.candidate.device, row.candidate.until_cloud)}
        manifest = model.store.manifest(deployment.model)
        model.store.add_block_costs(block_costs(model.store, planned.cost, manifest, cuts, planned.accuracies))
    else:
        # Energy is not a sum over blocks alone, so another plan could break the limit unnoticed.
        click.echo(
            "max_device_energy_mj is set: devices of this deployment will not be given other plans", err=True
        )
    written = [options.out / "deployment.yaml", options.out / "plan.json"]
    write_document(deployment, written[0])
    write_atomically(written[1], _json(planned).encode())
    if options.html is not None:
        # Deferred: nothing else draws.
        from tercet_cloud.planner.report.html_page import render_page

        write_atomically(options.html, render_page(report).encode())
        written.append(options.html)
    return written


def _json(planned: Planned) -> str:
    further = {} if planned.table is None else {"table": table_dict(planned.table, planned.table_rows())}
    return report_json(planned.report, further)


def _conditions(options: PlanOptions) -> ConditionRange | None:
    if options.conditions is not None:
        return read_document(ConditionRange, options.conditions)
    return ConditionRange() if options.table else None


def _topology(options: PlanOptions) -> tuple[Topology, Path]:
    """The topology, and the folder that its files are relative to."""
    if options.topology is not None:
        return read_topology(options.topology), options.topology.parent
    path = options.out / "topology.yaml"
    text = resources.files(__package__).joinpath(DEFAULT_TOPOLOGY).read_text(encoding="utf-8")
    write_atomically(path, text.encode())
    click.echo(f"no --topology: planning for this one machine; edit a copy of {path} to plan for yours", err=True)
    return parse_document(Topology, read_yaml(path), str(path)), path.parent


def _profile_files(texts: Sequence[str]) -> dict[Tier, Path]:
    """--profile TIER=FILE, by tier."""
    found: dict[Tier, Path] = {}
    for text in texts:
        tier, _, path = text.partition("=")
        if tier not in {known.value for known in Tier} or not path:
            raise SpecError(f"--profile {text}: write TIER=FILE, e.g. --profile device=device.yaml")
        if Tier(tier) in found:
            raise SpecError(f"--profile {text}: the {tier} has a profile already")
        found[Tier(tier)] = Path(path)
    return found


def _require_folder(path: Path, option: str) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{option}: {path} is no folder to write to: {error.strerror}") from error


def _find_model(store: Store, name: str, console: Console) -> ModelCard:
    """The model's card; a model of the catalogue is made first if need be."""
    if name in CATALOG and name not in store.model_names():
        with console.status(f"exporting {name} to ONNX"):
            return fetch_model(store, name)
    if ("/" in name or name.endswith(".onnx")) and Path(name).exists():
        raise NotFoundError(f"{name} is a file: run `tercet models add {name}`, then plan it by its name")
    return store.card(name)
