"""`cascade.yaml`: the stages of a cascade, when each may answer, and on what evidence.

A threshold stands here with the certificate that it was measured under. What a certificate says is held against its
own counts: numbers that prove nothing are refused, and so is a threshold that was changed afterwards.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from itertools import pairwise
from math import isnan
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, field_validator, model_validator

from tercet.cascade.binomial_tail import at_most
from tercet.cascade.exit_rule import ExitRule
from tercet.codecs import parse_spec
from tercet.codecs.delta import key_interval
from tercet.documents import Document, read_document
from tercet.errors import SpecError
from tercet.identifiers import ModelRef, Name
from tercet.models.manifest import DIGEST_CHARS
from tercet.tiers import Tier

AgreedWith = Literal["large model", "labels"]
Share = Annotated[FiniteFloat, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=0, le=10_000_000)]

# Of the tail probability, for documents written by other arithmetic.
_ROUNDING = 1e-6


class ExitCertificate(Document):
    """P(wrong | exit) ≤ alpha with probability ≥ 1 - delta, on frames like those calibrated with.

    Attributes:
        threshold: the one that is certified; infinite if none could be.
        delta: this exit's own share of what the cascade as a whole may be wrong in.
        frames: that reached the stage and were tested; `exits` of them at the threshold, `wrong` of those.
        bound: upper 1 - delta confidence bound of the risk.
        agreed_with: what "wrong" means: another label than the large model's, or than the true one.
    """

    threshold: float
    alpha: Share
    delta: Share
    frames: Count
    exits: Count
    wrong: Count
    bound: Annotated[FiniteFloat, Field(ge=0, le=1)]
    agreed_with: AgreedWith

    @model_validator(mode="after")
    def _proves(self) -> Self:
        if not self.wrong <= self.exits <= self.frames:
            raise ValueError(f"{self.wrong} wrong of {self.exits} exits of {self.frames} frames cannot be")
        if self.threshold == float("inf"):
            return self
        chance = at_most(self.wrong, self.exits, self.alpha)
        if not chance <= self.delta * (1 + _ROUNDING):
            raise ValueError(
                f"{self.wrong} wrong of {self.exits} exits do not prove a risk of at most {self.alpha:g} with "
                f"confidence {1 - self.delta:g}: calibrate again"
            )
        return self


class CascadeStage(Document):
    """One model of the cascade.

    Attributes:
        model: as a deployment on its tier names it.
        plan: the deployment's plan by which the tier computes all of it; the last stage's may be cut between edge
            and cloud.
        exit: when its answer stands; None for the last stage, whose answers always do.
        certificate: of the exit's threshold.
    """

    tier: Tier
    model: ModelRef
    plan: Name
    exit: ExitRule | None = None
    certificate: ExitCertificate | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.exit is None:
            if self.certificate is not None:
                raise ValueError("a certificate without an exit to certify")
            return self
        if isnan(self.exit.threshold):
            raise ValueError("the exit's threshold is no number; .inf closes an exit")
        if self.certificate is not None and self.certificate.threshold != self.exit.threshold:
            raise ValueError(
                f"the exit's threshold {self.exit.threshold:g} is not the one that was certified, "
                f"{self.certificate.threshold:g}: calibrate again, or leave the certificate out"
            )
        return self


class AuditTerms(Document):
    """The live audit: `share` of the confident frames is escalated anyway, `window` verdicts are remembered.

    `alpha` is the risk that exits without a certificate are held to; the others are held to their certificate's.
    """

    share: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0.05
    window: Annotated[int, Field(ge=8, le=100_000)] = 400
    alpha: Share = 0.05


class Cascade(Document):
    """What devices and edges read.

    Attributes:
        stages: small to large, each on a tier of its own, in the order data flows.
        escalate: codec of the input that crosses to the next stage: one for photos if the models take photos.
        uncertified: exits may stand here without a certificate.
    """

    format: Literal[1] = 1
    name: Name
    stages: Annotated[tuple[CascadeStage, ...], Field(min_length=2, max_length=3)]
    escalate: str = "raw"
    audit: AuditTerms = AuditTerms()
    uncertified: bool = False

    @field_validator("escalate")
    @classmethod
    def _known(cls, spec: str) -> str:
        try:
            parsed = parse_spec(spec)
        except SpecError as error:
            raise ValueError(str(error)) from error
        if key_interval(parsed) is not None:
            raise ValueError(
                f"{spec}: the large model does not see every frame, so frames cannot differ from earlier ones"
            )
        return str(parsed)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        order = list(Tier)
        if any(order.index(near.tier) >= order.index(far.tier) for near, far in pairwise(self.stages)):
            raise ValueError("stages stand in the order device, edge, cloud, each on a tier of its own")
        for number, stage in enumerate(self.stages[:-1]):
            if stage.exit is None:
                raise ValueError(f"stage {number} has no exit: only the last one answers every frame it gets")
            if stage.certificate is None and not self.uncertified:
                raise ValueError(
                    f"stage {number} exits without a certificate: run `tercet cascade calibrate`, or write "
                    "`uncertified: true`"
                )
        if self.stages[-1].exit is not None:
            raise ValueError("the last stage answers every frame it gets: leave out its exit")
        return self

    @property
    def delta(self) -> float:
        """The chance that any of the certificates is wrong, at most."""
        return sum(stage.certificate.delta for stage in self.stages if stage.certificate)

    @cached_property
    def ref(self) -> str:
        """How frames name it: "name@" and the first digits of the sha256 of everything in it."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return f"{self.name}@{hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARS]}"


def read_cascade(path: Path) -> Cascade:
    return read_document(Cascade, path)
