"""`tercet cascade calibrate`: models, frames, codec, exits; writes the cascade and its deployments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tercet.cascade.document import AuditTerms, Cascade, CascadeStage
from tercet.cascade.exit_rule import ScoreKind
from tercet.cascade.stage_input import check_inputs_fit
from tercet.codecs import parse_spec
from tercet.codecs.image import is_image_codec
from tercet.documents import write_document
from tercet.errors import SpecError
from tercet.identifiers import check_name
from tercet.models.card import ModelCard
from tercet.models.store import Store
from tercet.plans import Deployment, LinkCodecs, Plan
from tercet.tiers import Tier
from tercet_cloud.cascade.calibration import CalibratedCascade, Terms, calibrate_exits
from tercet_cloud.cascade.calibration_frames import FrameOptions, calibration_frames
from tercet_cloud.cascade.escalation import FRAMES, EscalationRow, cheapest, measure_codecs, menu_for
from tercet_cloud.cascade.stage_runs import StageModel, StageRuns
from tercet_cloud.cascade.stages import deal_frames, require_frames
from tercet_cloud.measurement.split_runner import SplitRunner
from tercet_cloud.models.catalog import CATALOG, fetch_model
from tercet_cloud.models.graph import OnnxGraph

PLAN = "whole"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class CalibrateOptions:
    """The command's options; see `tercet cascade calibrate --help`."""

    stages: tuple[str, ...]
    alpha: float
    delta: float
    score: ScoreKind
    frames: FrameOptions
    escalate: str | None
    audit: AuditTerms
    name: str
    out: Path
    store: Path


@dataclass(frozen=True)
class Calibration:
    """What was found and written. `deployments` are files, by the model's name."""

    cascade: Cascade
    exits: CalibratedCascade
    codecs: tuple[EscalationRow, ...]
    chosen: EscalationRow
    frames: str
    warnings: tuple[str, ...]
    deployments: dict[str, Path]


def calibrate(options: CalibrateOptions, tell: Tell = lambda _: None) -> Calibration:
    """Calibrate and write. What can be known before anything is computed is refused then.

    Raises:
        SpecError: stages, codec, frames or terms that do not go together, or too few frames: says how many.
        NotFoundError, InputError, MissingExtraError: of models and frames.
    """
    named = parse_stages(options.stages)
    check_name(options.name, "cascade")
    store = Store(options.store)
    tell("models")
    cards = [_find_model(store, name) for name, _ in named]
    check_inputs_fit(cards)
    if options.escalate is not None:
        _check_codec(options.escalate, cards[-1])
    graph = OnnxGraph(store.model_bytes(cards[-1]))
    frames = calibration_frames(cards[-1], graph, options.frames)
    terms = Terms(options.alpha, options.delta, options.score, options.frames.seed)
    require_frames(len(frames), alpha=terms.alpha, delta=terms.delta, stages=len(cards) - 1)
    runs = StageRuns(
        store,
        [
            StageModel(card, tier, SplitRunner(store, card, []))
            for card, (_, tier) in zip(cards, named, strict=True)
        ],
    )
    _check_shapes(runs)
    pilot = deal_frames(len(frames), len(cards) - 1, terms.seed).pilot
    few = list(frames.pick(pilot[:: max(1, len(pilot) // FRAMES)][:FRAMES].tolist()))
    menu = [options.escalate] if options.escalate else menu_for(runs)
    rows = measure_codecs(runs, few, menu, lambda codec: tell(f"escalation by {codec}"))
    chosen = cheapest(rows, options.alpha)
    tell(f"{len(frames)} frames through {len(cards)} stages")
    outputs = runs.outputs(frames.pick(range(len(frames))), chosen.codec)
    exits = calibrate_exits(outputs, frames.labels, terms)
    cascade = _document(options, runs, exits, chosen.codec)
    return Calibration(
        cascade,
        exits,
        tuple(rows),
        chosen,
        frames.description,
        (*frames.warnings, *_doubts(exits, chosen, options)),
        _write(options.out, cascade, runs, chosen.codec),
    )


def parse_stages(texts: Sequence[str]) -> list[tuple[str, Tier]]:
    """Name and tier of each MODEL[:TIER]. Tiers left out are device first, cloud last, edge between."""
    if not 2 <= len(texts) <= len(Tier):
        raise SpecError(
            f"a cascade has two or three stages, small to large; give --stage so often, not {len(texts)}"
        )
    usual = [Tier.DEVICE, Tier.EDGE, Tier.CLOUD] if len(texts) == len(Tier) else [Tier.DEVICE, Tier.CLOUD]
    stages = []
    for text, tier in zip(texts, usual, strict=True):
        name, _, given = text.partition(":")
        if given and given not in set(Tier):
            raise SpecError(f"--stage {text}: the tier is one of {', '.join(Tier)}")
        stages.append((name, Tier(given) if given else tier))
    order = list(Tier)
    places = [order.index(tier) for _, tier in stages]
    if places != sorted(set(places)):
        raise SpecError("stages go from device to cloud, each on a tier of its own: name them small to large")
    return stages


def _find_model(store: Store, name: str) -> ModelCard:
    """The model's card; one of the catalogue is made first if need be."""
    if name in CATALOG and name not in store.model_names():
        return fetch_model(store, name)
    return store.card(name)


def _check_codec(spec: str, picture: ModelCard) -> None:
    if is_image_codec(parse_spec(spec)) != (picture.input.kind == "image"):
        raise SpecError(
            f"--escalate {spec}: {picture.name} takes {picture.input.kind}s; photos cross by a codec for photos "
            "(png, webp:75, …), tensors by another"
        )


def _check_shapes(runs: StageRuns) -> None:
    """Stages that take tensors take the same ones."""
    if runs.picture.input.kind != "tensor":
        return
    wanted = runs.stages[-1].runner.manifest.boundaries[0]
    for stage in runs.stages:
        if stage.runner.manifest.boundaries[0] != wanted:
            raise SpecError(
                f"{stage.card.name} and {runs.picture.name} take different tensors: the stages of a cascade share "
                "one input"
            )


def _document(options: CalibrateOptions, runs: StageRuns, exits: CalibratedCascade, codec: str) -> Cascade:
    found = [*exits.exits, None]
    return Cascade(
        name=options.name,
        stages=tuple(
            CascadeStage(
                tier=stage.tier,
                model=stage.runner.manifest.ref,
                plan=PLAN,
                exit=each.rule if each else None,
                certificate=each.certificate if each else None,
            )
            for stage, each in zip(runs.stages, found, strict=True)
        ),
        escalate=codec,
        audit=options.audit,
    )


def _doubts(exits: CalibratedCascade, chosen: EscalationRow, options: CalibrateOptions) -> list[str]:
    doubts = [
        f"stage {index} never exits: even the strictest threshold that {each.certificate.frames} tested frames can "
        f"prove ({each.strictest:.0%} of them exit) is wrong too often; give more frames, allow more than "
        f"{options.alpha:g}, or leave the stage out"
        for index, each in enumerate(exits.exits)
        if each.rule.threshold == float("inf")
    ]
    if chosen.changed > options.alpha:
        doubts.append(f"{chosen.codec} changes {chosen.changed:.1%} of the large model's answers, more than alpha")
    return doubts


def _write(out: Path, cascade: Cascade, runs: StageRuns, codec: str) -> dict[str, Path]:
    """The cascade, and a deployment of every stage beside it."""
    paths = {}
    for stage in runs.stages:
        path = out.parent / f"deployment-{stage.card.name}.yaml"
        write_document(_whole_deployment(stage, codec), path)
        paths[stage.card.name] = path
    write_document(cascade, out)
    return paths


def _whole_deployment(stage: StageModel, codec: str) -> Deployment:
    """One plan: the whole model on the stage's tier, its input by the cascade's codec."""
    last = stage.runner.last
    device_until, edge_until = {Tier.DEVICE: (last, last), Tier.EDGE: (0, last), Tier.CLOUD: (0, 0)}[stage.tier]
    codecs = LinkCodecs() if stage.tier == Tier.DEVICE else LinkCodecs(device_edge=codec, edge_cloud=codec)
    if stage.tier == Tier.EDGE:
        codecs = LinkCodecs(device_edge=codec)
    plan = Plan(id=PLAN, device_until=device_until, edge_until=edge_until, codecs=codecs)
    return Deployment(model=stage.runner.manifest.ref, plans=(plan,))
