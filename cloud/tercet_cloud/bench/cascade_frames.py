"""What a cascade's bench knows of its frames, how they are divided, and what thresholds make of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tercet.cascade.exit_rule import ScoreKind
from tercet_cloud.cascade.stages import stages_reached

Target = Literal["agreement", "labels"]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class JudgedFrames:
    """N frames and what S models say to them.

    Attributes:
        labels: (N,) int64, the true ones.
        answers: (S, N) int64, each model's best label; the large model is the last.
        scores: by kind (S - 1, N) float64, how sure all but the last are.
    """

    labels: npt.NDArray[np.int64]
    answers: npt.NDArray[np.int64]
    scores: Mapping[ScoreKind, npt.NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Indices) -> JudgedFrames:
        """Those frames, as often as they are named."""
        return JudgedFrames(
            self.labels[indices],
            self.answers[:, indices],
            {kind: values[:, indices] for kind, values in self.scores.items()},
        )

    def only(self, score: ScoreKind) -> JudgedFrames:
        """The same frames without the other kinds of scores."""
        return JudgedFrames(self.labels, self.answers, {score: self.scores[score]})

    def wrong(self, target: Target) -> npt.NDArray[np.bool_]:
        """(S - 1, N) whether a stage's answer is another than the large model's, or than the label."""
        reference = self.answers[-1] if target == "agreement" else self.labels
        verdicts: npt.NDArray[np.bool_] = self.answers[:-1] != reference
        return verdicts

    def first(self, stages: int) -> JudgedFrames:
        """The cascade of the first so many stages and the large model."""
        kept = [*range(stages), len(self.answers) - 1]
        return JudgedFrames(
            self.labels, self.answers[kept], {kind: values[:stages] for kind, values in self.scores.items()}
        )


@dataclass(frozen=True)
class Outcome:
    """Frames through a cascade.

    Attributes:
        reached: (S,) frames that came to each model.
        exits, wrong: (S - 1,) frames that each stage answered, and of those the wrong ones.
        right, large_right: frames that the cascade, and the large model alone, answered as labelled.
    """

    reached: tuple[int, ...]
    exits: tuple[int, ...]
    wrong: tuple[int, ...]
    right: int
    large_right: int

    @property
    def frames(self) -> int:
        return self.reached[0]

    @property
    def never_large(self) -> float:
        """Share of frames that the large model never saw."""
        return 1 - self.reached[-1] / self.frames

    @property
    def relative_accuracy(self) -> float:
        """The cascade's share of right answers over the large model's."""
        return self.right / self.large_right if self.large_right else 0.0

    @property
    def risk(self) -> float:
        """Wrong ones among all exits; 0 without exits."""
        return sum(self.wrong) / max(1, sum(self.exits))

    @property
    def stage_risks(self) -> tuple[float, ...]:
        return tuple(wrong / max(1, exits) for wrong, exits in zip(self.wrong, self.exits, strict=True))

    def mean_cost(self, costs: Sequence[float]) -> float:
        """Cost of a frame, if each model that it reaches costs so much."""
        return sum(count * cost for count, cost in zip(self.reached, costs, strict=True)) / self.frames


def outcome_of(frames: JudgedFrames, score: ScoreKind, target: Target, thresholds: Sequence[float]) -> Outcome:
    """Send frames through a cascade with these thresholds."""
    ends = stages_reached(frames.scores[score], thresholds)
    last = len(frames.answers) - 1
    exits = np.bincount(ends, minlength=last + 1)
    wrong = frames.wrong(target)
    answers = np.take_along_axis(frames.answers, ends[np.newaxis], axis=0)[0]
    return Outcome(
        reached=tuple(int(count) for count in exits[::-1].cumsum()[::-1]),
        exits=tuple(int(count) for count in exits[:last]),
        wrong=tuple(int(wrong[stage][ends == stage].sum()) for stage in range(last)),
        right=int((answers == frames.labels).sum()),
        large_right=int((frames.answers[-1] == frames.labels).sum()),
    )


def random_splits(count: int, calibration: int, trials: int, seed: int) -> Iterator[tuple[Indices, Indices]]:
    """(calibration, held out) indices: every frame is in one of them."""
    generator = np.random.default_rng(seed)
    for _ in range(trials):
        order = generator.permutation(count)
        yield order[:calibration], order[calibration:]


def random_draws(count: int, calibration: int, trials: int, seed: int) -> Iterator[tuple[Indices, None]]:
    """(calibration, None) indices: calibration frames are drawn with replacement, independently.

    So the risk of all frames, for which None stands, is exactly that of the distribution they come from.
    """
    generator = np.random.default_rng(seed)
    for _ in range(trials):
        yield generator.integers(0, count, calibration), None
