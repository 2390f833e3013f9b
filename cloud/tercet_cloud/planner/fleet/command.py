"""`tercet plan --fleet FILE`: the fleet file to measurements, plan and report; deployments for all tiers."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import click
from rich.console import Console

from tercet.documents import write_atomically
from tercet.errors import SettingsError
from tercet.models.store import DEFAULT_STORE, Store
from tercet_cloud.measurement.sample_frames import EVALUATION_FRAMES, FrameSource, sample_frames
from tercet_cloud.models.catalog import CATALOG, fetch_model
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy
from tercet_cloud.planner.costs.cost_model import ModelMeasurements
from tercet_cloud.planner.fleet.cohort_plans import plan_cohorts
from tercet_cloud.planner.fleet.deployments import DeployableModel, write_deployments
from tercet_cloud.planner.fleet.fleet_file import read_fleet
from tercet_cloud.planner.fleet.report_json import fleet_json
from tercet_cloud.planner.fleet.report_text import print_fleet
from tercet_cloud.planner.fleet.setting import ResolvedCohort, resolve_fleet
from tercet_cloud.planner.measuring.accuracy import AccuracyMeter
from tercet_cloud.planner.measuring.gathering import PlannedModel, gather_coding, gather_profiles, join_measurements
from tercet_cloud.planner.measuring.measurement_cache import FOLDER, MeasurementCache
from tercet_cloud.planner.progress_bars import ProgressBars


@dataclass(frozen=True)
class FleetOptions:
    """The command's options as far as they concern fleets; see `tercet plan --help`."""

    fleet: Path
    photos: Path | None = None
    labelled: bool = False
    frames: int = EVALUATION_FRAMES
    measure_again: bool = False
    as_json: bool = False
    out: Path = Path(".tercet/plan")
    store: Path = DEFAULT_STORE


def run_fleet_plan(options: FleetOptions) -> None:
    """Plan, print and write. What the files say is checked before anything is measured."""
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--out: {options.out} is no folder to write to: {error.strerror}") from error
    setting = resolve_fleet(read_fleet(options.fleet), options.fleet.parent)
    store = Store(options.store)
    console = Console(stderr=True)
    with ProgressBars(console) as bars, ExitStack() as stack:
        models = {
            name: stack.enter_context(_MeasuredModel(name, store, options, bars))
            for name in dict.fromkeys(cohort.model for cohort in setting.cohorts)
        }
        measurements = [models[cohort.model].measurements(cohort) for cohort in setting.cohorts]
        bars.begin(f"plans for {len(setting.cohorts)} cohorts")
        plan = plan_cohorts(setting, measurements, {name: model.measure for name, model in models.items()})
    written = write_deployments(
        plan, {name: model.deployable for name, model in models.items()}, store, options.out
    )
    text = fleet_json(plan)
    path = options.out / "fleet-plan.json"
    write_atomically(path, text.encode())
    if options.as_json:
        click.echo(text, nl=False)
        return
    shown = Console()
    print_fleet(plan, shown)
    shown.print(
        f"Written: {path}, and {len(written)} deployments in {options.out}: cohorts/, edges/ and cloud/",
        style="dim",
        soft_wrap=True,
        highlight=False,
    )


class _MeasuredModel:
    """One model of the fleet with all that is measured of it, here or kept from before; use it as a context."""

    def __init__(self, name: str, store: Store, options: FleetOptions, bars: ProgressBars) -> None:
        if name in CATALOG and name not in store.model_names():
            bars.begin(f"exporting {name} to ONNX")
            fetch_model(store, name)
        card = store.card(name)
        graph = OnnxGraph(store.model_bytes(card))
        source = FrameSource(photos=options.photos, labelled=options.labelled, evaluation_frames=options.frames)
        self._model = PlannedModel(store, card, graph, sample_frames(card, graph, source))
        self._cache = MeasurementCache(store.root / FOLDER, refresh=options.measure_again)
        self._bars = bars
        self._coding = gather_coding(self._model, self._cache, bars.begin)
        self._by_device: dict[Path | None, ModelMeasurements] = {}
        self._meter = AccuracyMeter(
            store,
            card,
            self._model.samples.evaluation,
            self._coding,
            graph=graph,
            cache=self._cache,
            progress=bars.repeat(f"accuracy of plans of {name}"),
        )
        self.deployable = DeployableModel(card, graph)

    def __enter__(self) -> _MeasuredModel:
        self._meter.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._meter.__exit__(kind, error, trace)

    def measurements(self, cohort: ResolvedCohort) -> ModelMeasurements:
        """The same object for cohorts whose devices have the same profile."""
        profile = cohort.device.profile
        if profile not in self._by_device:
            topology = cohort.template.model_copy(
                update={"tiers": cohort.template.tiers.model_copy(update={"device": cohort.device})}
            )
            # All paths in a resolved cohort are absolute.
            profiles = gather_profiles(self._model, topology, Path(), {}, self._cache, self._bars.begin)
            self._by_device[profile] = join_measurements(self._model, profiles, self._coding)
        return self._by_device[profile]

    def measure(self, candidate: Candidate) -> MeasuredAccuracy:
        return self._meter.measure(candidate)
