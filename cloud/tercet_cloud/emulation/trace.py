"""How an emulated link changes over time: a step, a ramp, or a seeded walk like that of a mobile network."""

from __future__ import annotations

import random
from itertools import pairwise
from math import exp, sqrt
from typing import Annotated, Self

from pydantic import Field, FiniteFloat, model_validator

from tercet.documents import Document
from tercet_cloud.emulation.link_condition import LinkCondition

Seconds = Annotated[FiniteFloat, Field(ge=0)]

# The walk: rates are log-normal around their mean, hold about a second, and sometimes fade to a tenth.
_SPREAD = 0.45
_HOLD_S = 1.0
_FADE_EVERY_S, _FADE_S, _FADE_TO = 12.0, 1.5, 0.1
_WORST_DELAY = 5.0


class TracePoint(Document):
    """From `at_s` after the start of the trace on, the link is like this."""

    at_s: Seconds
    condition: LinkCondition


class Trace(Document):
    """Points in order of time, the first at 0; after the last nothing changes any more."""

    name: str
    points: Annotated[tuple[TracePoint, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        times = [point.at_s for point in self.points]
        if times[0] != 0 or any(later <= earlier for earlier, later in pairwise(times)):
            raise ValueError("a trace starts at 0 s and its points follow each other in time")
        return self

    @property
    def last_s(self) -> float:
        return self.points[-1].at_s

    def at(self, time_s: float) -> LinkCondition:
        """What the link is like `time_s` after the start."""
        reached = [point for point in self.points if point.at_s <= time_s]
        return reached[-1].condition if reached else self.points[0].condition


def step_trace(before: LinkCondition, after: LinkCondition, at_s: float, back_at_s: float | None = None) -> Trace:
    """`before`, from `at_s` on `after`, and from `back_at_s` on `before` again."""
    points = [TracePoint(at_s=0, condition=before), TracePoint(at_s=at_s, condition=after)]
    if back_at_s is not None:
        points.append(TracePoint(at_s=back_at_s, condition=before))
    return Trace(name="step", points=tuple(points))


def ramp_trace(start: LinkCondition, end: LinkCondition, over_s: float, steps: int = 50) -> Trace:
    """Rates, round trip, jitter and loss evenly from `start` to `end`, in `steps` steps."""
    points = []
    for number in range(steps + 1):
        share = number / steps
        values = {
            name: (1 - share) * getattr(start, name) + share * getattr(end, name)
            for name in ("up_mbps", "down_mbps", "round_trip_ms", "jitter_ms", "loss")
        }
        points.append(TracePoint(at_s=share * over_s, condition=end.model_copy(update=values)))
    return Trace(name="ramp", points=tuple(points))


def mobile_trace(seed: int, lasts_s: float, mean: LinkCondition, every_s: float = 0.2) -> Trace:
    """A walk like that of an LTE link, made up and not recorded: the same for the same seed.

    Rates wander around those of `mean`, both directions together, with fades to about a tenth; delay grows as the
    rate falls.
    """
    generator = random.Random(seed)
    keep = exp(-every_s / _HOLD_S)
    level, faded_until_s = generator.gauss(0, 1), -1.0
    points = []
    for number in range(max(1, round(lasts_s / every_s))):
        now_s = number * every_s
        level = keep * level + sqrt(1 - keep * keep) * generator.gauss(0, 1)
        if now_s >= faded_until_s and generator.random() < every_s / _FADE_EVERY_S:
            faded_until_s = now_s + generator.uniform(0.5, 1.5) * _FADE_S
        rate = exp(_SPREAD * level - _SPREAD**2 / 2) * (_FADE_TO if now_s < faded_until_s else 1.0)
        delay = min(_WORST_DELAY, max(0.8, rate**-0.5))
        condition = mean.model_copy(
            update={
                "up_mbps": max(0.05, mean.up_mbps * rate),
                "down_mbps": max(0.05, mean.down_mbps * rate),
                "round_trip_ms": mean.round_trip_ms * delay,
            }
        )
        points.append(TracePoint(at_s=now_s, condition=condition))
    return Trace(name=f"mobile, seed {seed}", points=tuple(points))
