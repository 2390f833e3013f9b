"""The demo from start to end: model, plans, photos, stack, frames, summary."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tercet.codecs.codec import Array
from tercet.documents import write_document
from tercet.errors import UnavailableError
from tercet.frame_record import FrameRecord, read_records
from tercet.models.card import ModelCard
from tercet.models.store import Store
from tercet.process import Shutdown, until_shutdown
from tercet_cloud.demo.calibrated import PreparedCascade, prepare_cascade
from tercet_cloud.demo.cascade import run_cascade
from tercet_cloud.demo.cascade_figures import CascadeFigures
from tercet_cloud.demo.planned import CODECS, PLANNED, DemoPlans, plan_demo
from tercet_cloud.demo.reference import reference_scores
from tercet_cloud.demo.report import print_report
from tercet_cloud.demo.setting import EMULATION
from tercet_cloud.demo.step import run_step
from tercet_cloud.demo.step_figures import StepFigures
from tercet_cloud.demo.summary import Summary, compare_plans, summarise, with_runtime
from tercet_cloud.measurement.sample_photos import write_crops
from tercet_cloud.models.catalog import fetch_model
from tercet_cloud.stack.local_stack import LocalStack, local_stack
from tercet_cloud.stack.memory import MemoryWatch
from tercet_cloud.stack.plan_meter import WARM_UP_FRAMES, PlanMeter, PlanRun
from tercet_cloud.stack.tier_process import TierProcess

log = logging.getLogger(__name__)

Result = TypeVar("Result")

MODEL = "efficientnet-lite0"
# What devices send every photo by; the other plans are only timed.
SENT = (PLANNED, *CODECS)
TIMED_FRAMES = 8
DEVICE_READY_S = 20.0
FRAME_S = 10.0
STOPPED_STATUS = 130
SAMPLE_EVERY_S = 0.2


@dataclass(frozen=True)
class DemoOptions:
    """The command's options; see `tercet demo --help`."""

    devices: int
    photos: int
    keep: bool
    as_json: bool
    out: Path
    store: Path
    step: bool = True
    cascade: bool = True


@dataclass(frozen=True)
class Shard:
    """One device's photos and where it writes what became of them."""

    node: str
    folder: Path

    @property
    def photos(self) -> Path:
        return self.folder / "photos"

    @property
    def results(self) -> Path:
        return self.folder / "results.jsonl"

    @property
    def outputs(self) -> Path:
        return self.folder / "outputs.npz"


class Demo:
    """One run of the demo."""

    def __init__(self, options: DemoOptions) -> None:
        self._options = options
        self._console = Console(stderr=options.as_json)
        # What to exit with if stopped now.
        self._status = STOPPED_STATUS

    async def run(self, shutdown: Shutdown) -> int:
        """Run it all, and with `keep` until a shutdown; returns the exit status.

        Everything started is stopped, whatever happens.
        """
        with _progress(self._console) as progress:
            await until_shutdown(shutdown, self._run(progress))
        return self._status

    async def _run(self, progress: Progress) -> None:
        out = self._options.out.resolve()
        out.mkdir(parents=True, exist_ok=True)
        store = Store(self._options.store.resolve())
        card = await _step(progress, f"model {MODEL}", lambda: stored_model(store))
        plans = await _plan(progress, store, card)
        deployment_path = out / "deployment.yaml"
        write_document(plans.deployment, deployment_path)
        shards = [Shard(f"device-{n}", out / f"device-{n}") for n in range(1, self._options.devices + 1)]
        photos = await _step(progress, "photo crops", lambda: prepare_shards(out, shards, self._options.photos))
        cascade = await _prepare_cascade(progress, store) if self._options.cascade else None
        starting = progress.add_task("start cloud and edge", total=None)
        async with local_stack(
            out / "logs",
            store.root,
            deployment_path,
            EMULATION,
            others=cascade.served if cascade else (),
            edge_options=("--cascade", str(cascade.file)) if cascade else (),
        ) as stack:
            progress.update(starting, total=1, completed=1)
            memory = MemoryWatch()
            timed = await _time_plans(progress, stack, plans, out)
            frames = len(photos) * len(SENT)
            await _send_frames(progress, stack, shards, memory, frames)
            reference = await _step(progress, "uncut model", lambda: reference_scores(card, store, photos))
            stepped = await _step_link(progress, stack, plans, out) if self._options.step else None
            cascaded = await _send_cascade(progress, stack, cascade, store, out) if cascade else None
            progress.stop()
            summary = summarise(
                read_all_records(shards),
                read_all_outputs(shards, card),
                reference,
                card.labels or (),
                memory.peaks(),
                model=str(plans.deployment.model),
                setting=EMULATION.describe(),
                expected_frames=frames,
                plans=compare_plans(plans.rows, plans.routes, timed),
            )
            summary = with_runtime(summary, stepped, cascaded)
            self._show(summary, out / "summary.json")
            self._status = 1 if summary.failures else os.EX_OK
            if self._options.keep:
                await _keep_running(stack, out / "stack.json", self._console)

    def _show(self, summary: Summary, path: Path) -> None:
        text = json.dumps(summary.as_dict(), indent=2, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
        if self._options.as_json:
            print(text, flush=True)
        else:
            print_report(summary, self._console)
            self._console.print(f"Written to {path}", style="dim", soft_wrap=True)


def stored_model(store: Store) -> ModelCard:
    """The demo's model from the store, exported into it first if it is not there."""
    return store.card(MODEL) if MODEL in store.model_names() else fetch_model(store, MODEL)


def prepare_shards(out: Path, shards: list[Shard], photos: int) -> list[Path]:
    """Remove what an earlier run left, deal the crops to the devices; returns the photos."""
    for old in out.glob("device-*"):
        shutil.rmtree(old)
    return write_crops(photos, [shard.photos for shard in shards])


async def _plan(progress: Progress, store: Store, card: ModelCard) -> DemoPlans:
    """Measure and plan in a thread; each step of measuring has its own bar."""

    def begin(title: str) -> Callable[[float], None]:
        task = progress.add_task(title, total=100)
        return lambda share: progress.update(task, completed=100 * share)

    return await _step(progress, "plans", lambda: plan_demo(store, card, begin))


async def _time_plans(
    progress: Progress, stack: LocalStack, plans: DemoPlans, out: Path
) -> Mapping[str, Sequence[FrameRecord]]:
    """One device sends a few photos by every plan, one frame at a time."""
    timing = progress.add_task("latency of every plan", total=1)
    photos = out / "timed-photos"
    write_crops(TIMED_FRAMES + WARM_UP_FRAMES, [photos])
    names = tuple(row.name for row in plans.rows)
    slowest_ms = max(row.prediction.latency_ms for row in plans.rows)
    run = PlanRun(stack.file.deployment, names, TIMED_FRAMES, slowest_ms)
    timed = await PlanMeter(stack, photos, out).measure(run)
    progress.update(timing, completed=1)
    return timed


async def _prepare_cascade(progress: Progress, store: Store) -> PreparedCascade:
    task = progress.add_task("cascade", total=None)

    def tell(what: str) -> None:
        progress.update(task, description=f"cascade: {what}")

    prepared = await asyncio.to_thread(prepare_cascade, store, tell)
    progress.update(task, description="cascade", total=1, completed=1)
    return prepared


async def _step_link(progress: Progress, stack: LocalStack, plans: DemoPlans, out: Path) -> StepFigures:
    """The strip chart appears line by line above the bars."""
    task = progress.add_task("bandwidth step", total=None)
    figures = await run_step(
        stack, plans.adaptive, out, lambda line: progress.console.print(line, highlight=False, soft_wrap=True)
    )
    progress.update(task, total=1, completed=1)
    return figures


async def _send_cascade(
    progress: Progress, stack: LocalStack, cascade: PreparedCascade, store: Store, out: Path
) -> CascadeFigures:
    task = progress.add_task("frames through the cascade", total=None)
    figures = await run_cascade(stack, cascade, store, out)
    progress.update(task, total=1, completed=1)
    return figures


async def _send_frames(
    progress: Progress, stack: LocalStack, shards: list[Shard], memory: MemoryWatch, frames: int
) -> None:
    """Start the devices and wait until they have sent everything."""
    sending = progress.add_task(f"frames from {len(shards)} devices", total=frames)
    busy = [shard for shard in shards if any(shard.photos.iterdir())]
    devices = [
        stack.start_device(
            shard.node,
            [
                *("--source", str(shard.photos), "--results", str(shard.results)),
                *("--outputs", str(shard.outputs)),
                *(argument for plan in SENT for argument in ("--plan", plan)),
            ],
        )
        for shard in busy
    ]
    try:
        async with asyncio.timeout(DEVICE_READY_S + FRAME_S * frames):
            while any(device.exit_status is None for device in devices):
                memory.sample(stack.processes)
                progress.update(sending, completed=sum(_count_lines(shard.results) for shard in busy))
                await asyncio.sleep(SAMPLE_EVERY_S)
    except TimeoutError:
        log.warning("devices did not finish in time; their missing frames are counted as lost")
    progress.update(sending, completed=sum(_count_lines(shard.results) for shard in busy))
    _raise_if_a_device_failed(devices, busy)


def _raise_if_a_device_failed(devices: list[TierProcess], shards: list[Shard]) -> None:
    """A device that ended without any record did not run: its own words say why."""
    for device, shard in zip(devices, shards, strict=True):
        if device.exit_status and not _count_lines(shard.results):
            raise UnavailableError(f"{device.node} failed: {device.last_words()}; see {device.log}")


def read_all_records(shards: list[Shard]) -> list[FrameRecord]:
    return [record for shard in shards if shard.results.exists() for record in read_records(shard.results)]


def read_all_outputs(shards: list[Shard], card: ModelCard) -> dict[tuple[str, int], Array]:
    """The scores by (node, sequence), from the files that devices wrote."""
    outputs: dict[tuple[str, int], Array] = {}
    for shard in shards:
        if shard.outputs.exists():
            with np.load(shard.outputs) as arrays:
                for key in arrays.files:
                    sequence, _, name = key.partition("/")
                    if name == card.output:
                        outputs[shard.node, int(sequence)] = arrays[key]
    return outputs


def _count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


async def _keep_running(stack: LocalStack, stack_file: Path, console: Console) -> None:
    """Leave the stack up until cancelled, by Ctrl-C or SIGTERM."""
    stack.file.write(stack_file)
    console.print(
        f"\nThe stack is running. In another terminal: tercet infer --stack {stack_file} PHOTO.jpg\n"
        "Ctrl-C stops it.",
        soft_wrap=True,
        highlight=False,
    )
    try:
        while all(process.exit_status is None for process in (stack.cloud, stack.edge)):
            await asyncio.sleep(SAMPLE_EVERY_S)
        raise UnavailableError(f"a tier ended by itself: see the logs in {stack.folder}")
    finally:
        stack_file.unlink(missing_ok=True)


async def _step(progress: Progress, title: str, work: Callable[[], Result]) -> Result:
    """Show one stage of unknown length; the work runs in a thread so that the spinner turns."""
    task = progress.add_task(title, total=None)
    result = await asyncio.to_thread(work)
    progress.update(task, total=1, completed=1)
    return result


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
