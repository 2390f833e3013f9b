"""One stage's exit while it serves: judges outputs, keeps the audit, says what the operator should see."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

import numpy as np

from tercet.cascade.audit import ExitAudit
from tercet.cascade.document import AuditTerms, CascadeStage
from tercet.cascade.exit_rule import scores_of
from tercet.codecs.codec import Array
from tercet.errors import InvariantError, TensorContractError, TercetError
from tercet.v1 import frame_pb2 as pb

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """What the stage made of its own answer: `exits` says that the answer stands, `audited` that the frame is
    escalated to check the exit."""

    stage: int
    score: float
    label: int
    threshold: float
    exits: bool
    audited: bool

    @property
    def sure(self) -> bool:
        """Whether the answer would stand if nothing were to be checked."""
        return self.score >= self.threshold

    def why_degraded(self, cause: TercetError) -> str:
        """For the route of an answer that was only given because nobody beyond could give a better one."""
        return f"{type(cause).__name__}: {cause} (own answer, score {self.score:.3g} of {self.threshold:.3g})"

    def to_wire(self, *, exited: bool) -> pb.ExitVerdict:
        """`exited`: the frame's answer is this stage's after all, as where nobody beyond can be reached."""
        return pb.ExitVerdict(
            stage=self.stage, score=self.score, threshold=self.threshold, exited=exited, audited=self.audited
        )


class LiveExit:
    """The exit of one stage on one node. Not thread-safe.

    Args:
        index: of the stage in its cascade.
        output: the model's output with the class scores, (1, classes).
        node: nodes audit different frames.
    """

    def __init__(self, cascade: str, index: int, stage: CascadeStage, output: str, terms: AuditTerms, node: str):
        if stage.exit is None:
            raise InvariantError(f"stage {index} of {cascade} has no exit to watch")
        self._cascade = cascade
        self._index = index
        self._rule = stage.exit
        self._output = output
        self._audit = ExitAudit(
            stage.exit.threshold,
            stage.certificate.alpha if stage.certificate else terms.alpha,
            share=terms.share,
            window=terms.window,
            seed=zlib.crc32(f"{node} {cascade} {index}".encode()),
        )
        self.judged = self.exited = self.audited = self.unanswered = 0

    def judge(self, outputs: Mapping[str, Array]) -> Verdict:
        """Whether the stage's answer to one frame stands.

        Raises:
            TensorContractError: no such output, more frames than one, or what `scores_of` refuses.
        """
        scores = outputs.get(self._output)
        if scores is None or scores.ndim != 2 or scores.shape[0] != 1:
            raise TensorContractError(
                f"a cascade's stage gives {self._output!r} of shape (1, classes), a frame at a time; this one gave "
                + ", ".join(f"{name!r} {array.shape}" for name, array in outputs.items())
            )
        rule = self._rule
        score = float(scores_of(scores, rule.score, rule.outputs, rule.temperature)[0])
        threshold = self._audit.threshold
        exits, audited = self._audit.decide(score)
        self.judged += 1
        self.exited += exits
        self.audited += audited
        return Verdict(self._index, score, int(np.argmax(scores)), threshold, exits, audited)

    def learn(self, verdict: Verdict, label: int | None) -> None:
        """What the stages beyond answered to an escalated frame; None if nobody did.

        Only audited frames teach the audit: the others are no fair sample, and may be another stage's answers.
        """
        if label is None:
            self.unanswered += 1
            return
        if not verdict.audited:
            return
        before = self._audit.report()
        self._audit.learn(verdict.score, verdict.label != label)
        after = self._audit.report()
        if after.threshold != before.threshold:
            log.warning(
                "exit threshold tightened" if after.tightened > before.tightened else "exit threshold relaxed",
                extra={
                    "cascade": self._cascade,
                    "stage": self._index,
                    "threshold_was": _finite(before.threshold),
                    "threshold": _finite(after.threshold),
                    "alpha": after.alpha,
                    "wrong": before.wrong + (after.tightened > before.tightened),
                    "audited": before.audited + (after.tightened > before.tightened),
                },
            )

    def status(self) -> dict[str, object]:
        """For health and logs; infinite thresholds are None, because JSON has none."""
        report = self._audit.report()
        return {
            "stage": self._index,
            "threshold": _finite(report.threshold),
            "certified_threshold": _finite(report.certified_threshold),
            "alpha": report.alpha,
            "observed_risk": report.observed_risk,
            "window_audited": report.audited,
            "window_wrong": report.wrong,
            "tightened": report.tightened,
            "relaxed": report.relaxed,
            "audited_share": report.share,
            "judged": self.judged,
            "exited": self.exited,
            "audited": self.audited,
            "unanswered": self.unanswered,
        }


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
