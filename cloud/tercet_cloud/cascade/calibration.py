"""The exits of a cascade from what its stages said to calibration frames. Pure.

The frames are dealt at random: a quarter is the pilot, on which everything is chosen (temperatures, thresholds to
try, and by the caller the codec); the rest is dealt evenly to the exits, and each exit is certified on those of its
own part that reach it. A stage's certificate so rests on frames that had no say in any exit before it. δ is divided
by the number of exits: all of them hold together with probability 1 - δ. The risk of all exits together, a weighted
mean of theirs, is then at most α too.
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
from tercet_cloud.cascade.certificate import PILOT_SHARE, certify_split, strictest_share, tested_frames_needed
from tercet_cloud.cascade.temperature import fit_temperature

Indices = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Terms:
    """What is asked for: P(wrong | exit) ≤ alpha at every exit, all together with probability ≥ 1 - delta."""

    alpha: float
    delta: float
    score: ScoreKind = "max-softmax"
    seed: int = 0


@dataclass(frozen=True)
class Parts:
    """Frame indices: the pilot's, and those that each exit is tested on."""

    pilot: Indices
    tests: tuple[Indices, ...]


@dataclass(frozen=True)
class CalibratedExit:
    """`reached` of `frames` came to the stage and `exited` of them there, pilot included.

    `strictest`: the share of exits at which the search for a threshold began; fewer would prove nothing.
    """

    rule: ExitRule
    certificate: ExitCertificate
    frames: int
    reached: int
    exited: int
    strictest: float


@dataclass(frozen=True)
class CalibratedCascade:
    """`shares` of frames that each stage answered, and how often the cascade's label was the reference's, both over
    all frames but the pilot's."""

    exits: tuple[CalibratedExit, ...]
    shares: tuple[float, ...]
    agreement: float


def check_terms(terms: Terms) -> None:
    if not (0 < terms.alpha < 1 and 0 < terms.delta < 1):
        raise SpecError(f"alpha and delta lie between 0 and 1; {terms.alpha:g} and {terms.delta:g} promise nothing")


def frames_needed(terms: Terms, exits: int) -> int:
    """The fewest frames, were no exit ever wrong and did all frames reach every stage."""
    check_terms(terms)
    return ceil(tested_frames_needed(terms.alpha, terms.delta / exits) * exits / (1 - PILOT_SHARE))


def require_frames(terms: Terms, exits: int, frames: int) -> None:
    """SpecError that says how many are needed, before anything is computed."""
    needed = frames_needed(terms, exits)
    if frames < needed:
        raise SpecError(
            f"{frames} calibration frames cannot certify {exits} exit{'s' if exits > 1 else ''} with a risk of at "
            f"most {terms.alpha:g} and confidence {1 - terms.delta:g}: at least {needed} are needed, and more "
            "where answers are wrong or frames exit before"
        )


def deal_frames(frames: int, exits: int, seed: int = 0) -> Parts:
    """Every frame to the pilot or to one exit, at random."""
    order = np.random.default_rng(seed).permutation(frames)
    pilot = int(frames * PILOT_SHARE)
    return Parts(np.sort(order[:pilot]), tuple(np.sort(part) for part in np.array_split(order[pilot:], exits)))


def calibrate_exits(
    outputs: Sequence[Array], labels: Labels | None, terms: Terms, parts: Parts
) -> CalibratedCascade:
    """Rules and certificates of all stages but the last.

    Args:
        outputs: of every stage, small to large, (frames, classes) each.
        labels: (frames,) true classes; None: the large model's answers are taken for them.
        parts: as `deal_frames` gives them, for so many exits.
    Raises:
        SpecError: too few frames reach an exit; says how many are needed.
        TensorContractError: outputs that are no class scores.
    """
    frames = len(outputs[-1])
    answers = [np.argmax(scores, axis=1).astype(np.int64) for scores in outputs]
    truth = answers[-1] if labels is None else labels
    reaching = np.ones(frames, np.bool_)
    answer = answers[-1].copy()
    answered_by = np.full(frames, len(outputs) - 1)
    exits = []
    for index, scores in enumerate(outputs[:-1]):
        pilot, test = (part[reaching[part]] for part in (parts.pilot, parts.tests[index]))
        _require_reaching(terms, parts, index, len(test), float(reaching.mean()))
        kind = output_kind(scores)
        temperature = fit_temperature(logits_of(scores[pilot], kind), truth[pilot])
        sureness = scores_of(scores, terms.score, kind, temperature)
        wrong = answers[index] != truth
        certificate = certify_split(
            sureness[pilot], sureness[test], wrong[test], alpha=terms.alpha, delta=terms.delta / len(parts.tests)
        )
        rule = ExitRule(score=terms.score, outputs=kind, temperature=temperature, threshold=certificate.threshold)
        exiting = reaching & (sureness >= rule.threshold)
        exits.append(
            CalibratedExit(
                rule,
                ExitCertificate(**asdict(certificate), agreed_with="large model" if labels is None else "labels"),
                frames,
                int(reaching.sum()),
                int(exiting.sum()),
                strictest_share(len(test), terms.alpha, certificate.delta),
            )
        )
        answer[exiting], answered_by[exiting] = answers[index][exiting], index
        reaching &= ~exiting
    tested = np.concatenate(parts.tests)
    shares = tuple(float((answered_by[tested] == index).mean()) for index in range(len(outputs)))
    return CalibratedCascade(tuple(exits), shares, float((answer[tested] == truth[tested]).mean()))


def output_kind(outputs: Array) -> OutputKind:
    """Probabilities if all frames' outputs are none below 0 and sum to 1, else logits."""
    values = np.asarray(outputs, np.float64)
    if values.ndim == 2 and len(values) and values.min() >= 0 and np.abs(values.sum(axis=1) - 1).max() < 1e-2:
        return "probabilities"
    return "logits"


def _require_reaching(terms: Terms, parts: Parts, index: int, reaching: int, share: float) -> None:
    needed = tested_frames_needed(terms.alpha, terms.delta / len(parts.tests))
    if reaching >= needed:
        return
    part = (1 - PILOT_SHARE) / len(parts.tests)
    total = ceil(needed / (part * share)) if share else None
    enough = (
        "leave that stage out" if total is None else f"about {total} frames are needed, or leave that stage out"
    )
    raise SpecError(f"only {reaching} of the frames that test stage {index} reach it, {needed} must: {enough}")
