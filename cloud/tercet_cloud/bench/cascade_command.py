"""`tercet bench cascade`: what certified exits save, whether certificates hold, and what the audit does in a drift.

All labelled pictures are shuffled; one half trains (a tenth of it fits the temperatures), the other half is the
pool that calibrations and held-out frames come from. No picture is ever in both halves.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress

from tercet.cascade.exit_rule import ScoreKind
from tercet.codecs.codec import Float32Array
from tercet.errors import SpecError
from tercet.machine import this_machine
from tercet_cloud.bench.cascade_frames import JudgedFrames, Target, random_draws, random_splits
from tercet_cloud.bench.cascade_networks import (
    SCORES,
    StageModel,
    designs,
    judge_frames,
    time_stages,
    train_stages,
)
from tercet_cloud.bench.cascade_report import CascadeReport, NetworkRow
from tercet_cloud.bench.cascade_rows import (
    BreachRow,
    Costs,
    SavingRow,
    breach_row,
    clean_row,
    drift_row,
    saving_row,
)
from tercet_cloud.bench.cascade_stream import PhaseRecord, run_stream
from tercet_cloud.bench.cascade_tables import print_report
from tercet_cloud.bench.cascade_trials import Promise, run_trials, synthetic_breaches, synthetics
from tercet_cloud.bench.codec_cnn import digits, read_pictures
from tercet_cloud.bench.picture_drifts import DRIFTS
from tercet_cloud.cascade.stages import certify_stages, require_frames

TARGETS: tuple[Target, ...] = ("agreement", "labels")
ALPHAS = (0.01, 0.02, 0.05, 0.1)
_TRAIN_SHARE = 0.5
_CALIBRATION_SHARE, _CALIBRATION_MOST = 0.75, 4000
# The large network has none.
EXITS = 2
# Other risks than the asked one are measured on fewer calibrations.
_OTHER_TRIALS = 100
SPLITS, DRAWS = "random splits", "draws from the pool"


@dataclass(frozen=True)
class CascadeOptions:
    """The command's options; see `tercet bench cascade --help`. `steps` overrides how long networks train."""

    data: Path | None
    alpha: float
    delta: float
    calibration: int | None
    trials: int
    streams: int
    frames: int
    share: float
    score: ScoreKind
    as_json: bool
    steps: int | None = None


@dataclass(frozen=True)
class _Pool:
    """The half that trains nothing."""

    models: tuple[StageModel, ...]
    images: Float32Array
    labels: npt.NDArray[np.int64]
    frames: JudgedFrames
    ms: tuple[float, ...]

    def costs(self, stages: int) -> Costs:
        """Of the cascade of the first so many stages and the large model."""
        kept = [*range(stages), -1]
        return Costs(tuple(self.models[index].macs for index in kept), tuple(self.ms[index] for index in kept))


def bench_cascade(options: CascadeOptions) -> None:
    """Train, measure, print."""
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("training", total=None)
        report = measure_cascade(options, lambda text: progress.update(task, description=text))
    if options.as_json:
        print(json.dumps(asdict(report), indent=2, ensure_ascii=False))
    else:
        print_report(report, Console())


def measure_cascade(options: CascadeOptions, progress: Callable[[str], None]) -> CascadeReport:
    """SpecError if the pool is too small to certify what is asked, before anything is trained."""
    began_s = time.perf_counter()
    name, images, labels = _pictures(options.data)
    order = np.random.default_rng(0).permutation(len(images))
    trained, kept = np.split(order, [int(len(order) * _TRAIN_SHARE)])
    calibration = _calibration_frames(options, len(kept))
    pool = _train(options, images, labels, trained, kept, progress)
    breaches, savings, refusals = _trials(options, pool, calibration, progress)
    streams = {drift: list(_streams(options, pool, calibration, drift, progress)) for drift in range(len(DRIFTS))}
    return CascadeReport(
        command=_command(options),
        machine=this_machine().processor,
        data=name,
        trained_on=len(trained),
        pool=len(kept),
        calibration=calibration,
        alpha=options.alpha,
        delta=options.delta,
        share=options.share,
        stream_score=options.score,
        phase_frames=options.frames,
        networks=_network_rows(pool),
        savings=tuple(savings),
        refusals=tuple(refusals),
        breaches=tuple(breaches),
        clean=clean_row([phases for found in streams.values() for phases in found], options.alpha),
        drifts=tuple(drift_row(DRIFTS[drift].name, found, options.alpha) for drift, found in streams.items()),
        seconds=round(time.perf_counter() - began_s, 1),
    )


def _pictures(data: Path | None) -> tuple[str, Float32Array, npt.NDArray[np.int64]]:
    pictures = digits() if data is None else read_pictures(data)
    return (
        pictures.name,
        np.concatenate([pictures.train_images, pictures.test_images]),
        np.concatenate([pictures.train_labels, pictures.test_labels]),
    )


def _calibration_frames(options: CascadeOptions, pool: int) -> int:
    calibration = options.calibration or min(_CALIBRATION_MOST, int(pool * _CALIBRATION_SHARE))
    require_frames(calibration, alpha=options.alpha, delta=options.delta, stages=EXITS)
    if calibration >= pool:
        raise SpecError(f"--calibration {calibration} leaves nothing to judge of {pool} pictures in the pool")
    return calibration


def _train(
    options: CascadeOptions,
    images: Float32Array,
    labels: npt.NDArray[np.int64],
    trained: npt.NDArray[np.intp],
    kept: npt.NDArray[np.intp],
    progress: Callable[[str], None],
) -> _Pool:
    chosen = designs(min(images.shape[2:]), options.steps)
    models = train_stages(
        images[trained], labels[trained], chosen, progress=lambda name: progress(f"training the {name} network")
    )
    ms = time_stages(models, images[kept[:1]])
    return _Pool(models, images[kept], labels[kept], judge_frames(models, images[kept], labels[kept]), ms)


def _network_rows(pool: _Pool) -> tuple[NetworkRow, ...]:
    return tuple(
        NetworkRow(
            model.name,
            model.macs,
            round(ms, 4),
            round(model.temperature, 3),
            round(model.train_s, 1),
            float((answers == pool.labels).mean()),
            float((answers == pool.frames.answers[-1]).mean()),
        )
        for model, ms, answers in zip(pool.models, pool.ms, pool.frames.answers, strict=True)
    )


def _trials(
    options: CascadeOptions, pool: _Pool, calibration: int, progress: Callable[[str], None]
) -> tuple[list[BreachRow], list[SavingRow], list[str]]:
    """All promises at the asked risk; what thresholds save there, and by agreement at other risks too."""
    breaches: list[BreachRow] = []
    savings: list[SavingRow] = []
    refusals: dict[str, None] = {}
    asked = Promise(options.alpha, options.delta)
    for target, score, stages in product(TARGETS, SCORES, (1, EXITS)):
        progress(f"certifying by {score}, {target}")
        frames = pool.frames.first(stages)
        for seed, (population, divide) in enumerate(((SPLITS, random_splits), (DRAWS, random_draws))):
            divisions = divide(len(frames), calibration, options.trials, seed)
            trials = run_trials(frames, divisions, score, target, asked)
            breaches.append(breach_row(population, target, score, stages, trials, options.alpha))
            if population == SPLITS:
                savings.append(saving_row(trials, asked, target, score, pool.costs(stages)))
        for alpha in sorted(set(ALPHAS) - {options.alpha}) if target == "agreement" else ():
            other = Promise(alpha, options.delta)
            divisions = random_splits(len(frames), calibration, min(_OTHER_TRIALS, options.trials), seed=0)
            try:
                trials = run_trials(frames, divisions, score, target, other)
            except SpecError as error:
                refusals[str(error)] = None
                continue
            savings.append(saving_row(trials, other, target, score, pool.costs(stages)))
    for made in synthetics(options.alpha):
        certified, uncertified = synthetic_breaches(made, calibration, options.trials, asked, seed=2)
        breaches.append(BreachRow(made.name, None, None, 1, certified, uncertified, None))
    breaches.sort(key=lambda row: (row.target or "made", row.population != SPLITS, row.stages))
    savings.sort(key=lambda row: (row.target, row.alpha, row.stages))
    return breaches, savings, list(refusals)


def _streams(
    options: CascadeOptions, pool: _Pool, calibration: int, drift: int, progress: Callable[[str], None]
) -> Iterator[list[PhaseRecord]]:
    """Every stream has its own calibration, and meets only frames that are not in it."""
    progress(f"streaming: {DRIFTS[drift].name}")
    clean = pool.frames.only(options.score)
    drifted = judge_frames(pool.models, DRIFTS[drift].change(pool.images), pool.labels).only(options.score)
    divisions = random_splits(len(clean), calibration, options.streams, seed=100 + drift)
    for number, (chosen, others) in enumerate(divisions):
        sample = clean.take(chosen)
        certificates = certify_stages(
            sample.scores[options.score],
            sample.wrong("agreement"),
            alpha=options.alpha,
            delta=options.delta,
            seed=number,
        )
        before, during = clean.take(others), drifted.take(others)
        yield run_stream(
            [(before, options.frames), (during, options.frames), (before, options.frames)],
            options.score,
            [certificate.threshold for certificate in certificates],
            options.alpha,
            share=options.share,
            seed=1000 * drift + number,
        )


def _command(options: CascadeOptions) -> str:
    data = f" --data {options.data.name}" if options.data else ""
    calibration = f" --calibration {options.calibration}" if options.calibration else ""
    return (
        f"tercet bench cascade{data} --alpha {options.alpha:g} --delta {options.delta:g}{calibration} "
        f"--trials {options.trials} --streams {options.streams} --frames {options.frames} "
        f"--share {options.share:g} --score {options.score}"
    )
