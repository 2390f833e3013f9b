"""The exits of a cascade from what its stages said to calibration frames. Pure.

Temperatures are fitted on the pilot part of the frames, as `stages` deals them, thresholds certified on the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from tercet.cascade.document import ExitCertificate
from tercet.cascade.exit_rule import ExitRule, OutputKind, ScoreKind, logits_of, scores_of
from tercet.codecs.codec import Array
from tercet.errors import SpecError
from tercet_cloud.cascade.certificate import PILOT_SHARE, strictest_share, tested_frames_needed
from tercet_cloud.cascade.stages import certify_stages, deal_frames, stages_reached
from tercet_cloud.cascade.temperature import fit_temperature

Labels = npt.NDArray[np.int64]
# Probabilities of one frame may miss 1 by this much, from rounding in half precision.
_SUM_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Terms:
    """What is asked for: P(wrong | exit) ≤ alpha at every exit, all together with probability ≥ 1 - delta."""

    alpha: float
    delta: float
    score: ScoreKind = "max-softmax"
    seed: int = 0


@dataclass(frozen=True)
class CalibratedExit:
    """A stage's rule and its certificate.

    `strictest`: the share of exits at which the search for a threshold began; fewer would prove nothing.
    """

    rule: ExitRule
    certificate: ExitCertificate
    strictest: float


@dataclass(frozen=True)
class CalibratedCascade:
    """Every exit; and over all frames but the pilot's the `shares` that each stage answered, and how often the
    cascade's label was the reference's."""

    exits: tuple[CalibratedExit, ...]
    shares: tuple[float, ...]
    agreement: float


def calibrate_exits(outputs: Sequence[Array], labels: Labels | None, terms: Terms) -> CalibratedCascade:
    """Rules and certificates of all stages but the last.

    Args:
        outputs: of every stage, small to large, (frames, classes) each.
        labels: (frames,) true classes; None: the large model's answers are taken for them.
    Raises:
        SpecError: too few frames, or too few that reach an exit; says how many are needed.
        TensorContractError: outputs that are no class scores.
    """
    frames, exits = len(outputs[-1]), len(outputs) - 1
    dealt = deal_frames(frames, exits, terms.seed)
    answers = np.stack([np.argmax(scores, axis=1) for scores in outputs])
    truth = answers[-1] if labels is None else labels
    rules = [_rule(scores, truth, dealt.pilot, terms.score) for scores in outputs[:-1]]
    sureness = np.stack(
        [
            scores_of(scores, rule.score, rule.outputs, rule.temperature)
            for scores, rule in zip(outputs[:-1], rules, strict=True)
        ]
    )
    certificates = certify_stages(
        sureness, answers[:-1] != truth, alpha=terms.alpha, delta=terms.delta, seed=terms.seed
    )
    answered_by = stages_reached(sureness, [certificate.threshold for certificate in certificates])
    calibrated = []
    for index, (rule, found) in enumerate(zip(rules, certificates, strict=True)):
        _require_reaching(terms, exits, index, found.frames, float((answered_by >= index).mean()))
        calibrated.append(
            CalibratedExit(
                rule.model_copy(update={"threshold": found.threshold}),
                ExitCertificate(**asdict(found), agreed_with="large model" if labels is None else "labels"),
                strictest_share(found.frames, terms.alpha, found.delta),
            )
        )
    tested = np.concatenate(dealt.tests)
    shares = tuple(float((answered_by[tested] == index).mean()) for index in range(len(outputs)))
    agreement = float((answers[answered_by, np.arange(frames)] == truth)[tested].mean())
    return CalibratedCascade(tuple(calibrated), shares, agreement)


def output_kind(outputs: Array) -> OutputKind:
    """Probabilities if all frames' outputs are none below 0 and sum to 1, else logits."""
    values = np.asarray(outputs, np.float64)
    likely = values.ndim == 2 and len(values) and values.min() >= 0
    return "probabilities" if likely and np.abs(values.sum(axis=1) - 1).max() < _SUM_TOLERANCE else "logits"


def _rule(scores: Array, truth: Labels, pilot: npt.NDArray[np.intp], score: ScoreKind) -> ExitRule:
    """The rule with its temperature, and no threshold yet: it never exits."""
    kind = output_kind(scores)
    temperature = fit_temperature(logits_of(scores[pilot], kind), truth[pilot])
    return ExitRule(score=score, outputs=kind, temperature=temperature, threshold=float("inf"))


def _require_reaching(terms: Terms, exits: int, index: int, tested: int, reach_share: float) -> None:
    needed = tested_frames_needed(terms.alpha, terms.delta / exits)
    if tested >= needed:
        return
    part = (1 - PILOT_SHARE) / exits
    enough = f"about {ceil(needed / (part * reach_share))} frames are needed, or " if reach_share else ""
    raise SpecError(
        f"only {tested} of the frames that test stage {index} reach it, {needed} must: {enough}leave that stage out"
    )
