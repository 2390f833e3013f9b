"""`tercet plan MODEL`: options to measurements, search and report; the report to screen and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import click
from rich.console import Console

from tercet.documents import parse_document, read_yaml, write_atomically, write_document
from tercet.errors import NotFoundError, SpecError
from tercet.models.card import ModelCard
from tercet.models.store import Store
from tercet.tiers import Tier
from tercet_cloud.measurement.input_shapes import parse_shape_options
from tercet_cloud.measurement.sample_frames import FrameSource, sample_frames
from tercet_cloud.models.catalog import CATALOG, fetch_model
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.accuracy import AccuracyMeter
from tercet_cloud.planner.accuracy_memo import AccuracyMemo
from tercet_cloud.planner.baselines import baseline_rows
from tercet_cloud.planner.candidate import Candidate
from tercet_cloud.planner.cost_model import CostModel
from tercet_cloud.planner.deployable import deploy_plans
from tercet_cloud.planner.gathering import (
    METHOD,
    PlannedModel,
    TierProfile,
    gather_coding,
    gather_profiles,
    join_measurements,
)
from tercet_cloud.planner.kept_accuracy import AccuracyBook
from tercet_cloud.planner.measurement_cache import MeasurementCache
from tercet_cloud.planner.progress_bars import ProgressBars
from tercet_cloud.planner.report.assembling import CHOSEN, Surroundings, assemble_report
from tercet_cloud.planner.report.circumstances import describe_circumstances
from tercet_cloud.planner.report.plan_json import report_json
from tercet_cloud.planner.report.plan_report import PlanReport
from tercet_cloud.planner.report.text_table import print_plan
from tercet_cloud.planner.search import search_plan
from tercet_cloud.planner.topology import Topology, read_topology

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
    out: Path
    store: Path


def plan_model(options: PlanOptions) -> None:
    """Plan, print and write. Errors come before anything is measured, as far as they can be known by then."""
    given = _profile_files(options.profiles)
    topology, folder = _topology(options)
    store = Store(options.store)
    console = Console(stderr=True)
    card = _find_model(store, options.model, console)
    model = _planned_model(store, card, options)
    cache = MeasurementCache(store.root, fresh=options.measure_again)
    with ProgressBars(console) as bars:
        profiles = gather_profiles(model, topology, folder, given, cache, bars.begin)
        coding = gather_coding(model, cache, bars.begin)
        cost = CostModel(join_measurements(model, profiles, coding), topology)
        report = _report(model, cost, profiles, cache, bars)
    deployment = deploy_plans(store, card, model.graph, coding, {CHOSEN: report.chosen})
    write_document(deployment, options.out / "deployment.yaml")
    text = report_json(report)
    write_atomically(options.out / "plan.json", text.encode())
    if options.html is not None:
        from tercet_cloud.planner.report.html_page import render_page

        write_atomically(options.html, render_page(report).encode())
    if options.as_json:
        click.echo(text, nl=False)
        return
    shown = Console()
    print_plan(report, shown, explain=options.explain)
    written = [str(options.out / "deployment.yaml"), str(options.out / "plan.json")]
    written += [str(options.html)] if options.html is not None else []
    shown.print(f"Written: {', '.join(written)}", style="dim", soft_wrap=True, highlight=False)


def _report(
    model: PlannedModel,
    cost: CostModel,
    profiles: dict[Tier, TierProfile],
    cache: MeasurementCache,
    bars: ProgressBars,
) -> PlanReport:
    evaluation = model.samples.evaluation
    path = cache.path("accuracy", [METHOD, model.graph.sha256, model.card.task, model.card.output, evaluation.digest])
    coding = cost.measurements.coding
    everything = frozenset(range(len(model.graph.operations)))
    tell = bars.repeat("accuracy of plans")
    with AccuracyMeter(
        model.store, model.card, evaluation, coding, graph=model.graph, progress=tell
    ) as meter:
        book = AccuracyBook(meter, cache, path, model.graph, coding)
        result = search_plan(cost, book.measure)
        memo = AccuracyMemo(cost, book.measure, known=(result.chosen, *result.considered))
        around = Surroundings(baselines=baseline_rows(cost, memo))
        lossless = book.measure(Candidate(everything, everything, ("raw", "raw")))
    circumstances = describe_circumstances(
        cost.topology, profiles, coding, evaluation.description, model.samples.warnings, result
    )
    return assemble_report(cost, model.graph, profiles, result, around, circumstances, lossless)


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
        if tier not in set(Tier) or not path:
            raise SpecError(f"--profile {text}: write TIER=FILE, e.g. --profile device=device.yaml")
        if Tier(tier) in found:
            raise SpecError(f"--profile {text}: the {tier} has a profile already")
        found[Tier(tier)] = Path(path)
    return found


def _find_model(store: Store, name: str, console: Console) -> ModelCard:
    """The model's card; a model of the catalogue is made first if need be."""
    if name in CATALOG and name not in store.model_names():
        with console.status(f"exporting {name} to ONNX"):
            return fetch_model(store, name)
    if ("/" in name or name.endswith(".onnx")) and Path(name).exists():
        raise NotFoundError(f"{name} is a file: run `tercet models add {name}` first, then plan it by its name")
    return store.card(name)


def _planned_model(store: Store, card: ModelCard, options: PlanOptions) -> PlannedModel:
    graph = OnnxGraph(store.model_bytes(card))
    source = FrameSource(
        photos=options.photos,
        labelled=options.labelled,
        inputs=options.inputs,
        shapes=parse_shape_options(options.shapes),
        evaluation_frames=options.frames,
    )
    return PlannedModel(store, card, graph, sample_frames(card, graph, source))
