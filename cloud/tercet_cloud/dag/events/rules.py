"""Rules: which change of which key runs which pipeline. Decisions only; times are arguments.

rules:
- key: camera/*/speech             # keys, with * ? […]
  when: event.value.level > 0.2    # a condition; also event.key
  debounce_s: 0.3                  # wait until the key has been quiet for so long
  pipeline: transcribe.yaml        # relative to this file
  inputs: {clip: event.value.clip}
  priority: high
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from heapq import heappop, heappush
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, FiniteFloat, field_validator

from tercet.documents import Document, read_document
from tercet.errors import InputError, SpecError
from tercet.steps.conditions import parse_condition
from tercet.steps.references import Reference, parse_reference, value_at
from tercet_cloud.dag.events.bus import Event
from tercet_cloud.dag.spec import Pipeline, Priority, ReferenceText

_EVENT = "event"
# Of a key that never is quiet, a change is acted on after so many times its debounce.
_LONGEST_DEBOUNCES = 10.0
_MAX_WAITING = 10_000


def _of_event(reference: Reference) -> None:
    if reference.node != _EVENT or not reference.path or reference.path[0] not in ("key", "value"):
        raise ValueError(f"{reference} is not event.key or event.value…")


def _condition(text: str) -> str:
    try:
        for reference in parse_condition(text).references():
            _of_event(reference)
    except SpecError as error:
        raise ValueError(str(error)) from error
    return text


class Rule(Document):
    """See the module.

    Attributes:
        key: a pattern of keys. (Not `on`: YAML reads that as true.)
        inputs: of the pipeline, from the event.
        priority: of the run, in place of the pipeline's.
    """

    key: Annotated[str, Field(min_length=1, max_length=1000)]
    when: Annotated[str, AfterValidator(_condition)] | None = None
    debounce_s: Annotated[FiniteFloat, Field(ge=0, le=3600)] = 0.0
    pipeline: Path
    inputs: Mapping[str, ReferenceText] = Field(default_factory=dict)
    priority: Priority | None = None

    @field_validator("inputs")
    @classmethod
    def _from_event(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for text in value.values():
            _of_event(parse_reference(text))
        return value

    def matches(self, event: Event) -> bool:
        """InputError if its condition cannot be told of this value."""
        if not fnmatchcase(event.key, self.key):
            return False
        return self.when is None or parse_condition(self.when).holds(lambda reference: _value(event, reference))

    def inputs_of(self, event: Event) -> dict[str, Any]:
        """InputError if the value has not what the rule wants of it."""
        return {name: _value(event, parse_reference(text)) for name, text in self.inputs.items()}


class Rules(Document):
    """`rules.yaml`."""

    format: Literal[1] = 1
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]


def read_rules(path: Path) -> Rules:
    """NotFoundError, or SpecError with the line. Pipelines are made relative to the file."""
    read = read_document(Rules, path)
    placed = tuple(rule.model_copy(update={"pipeline": path.parent / rule.pipeline}) for rule in read.rules)
    return read.model_copy(update={"rules": placed})


def check_rules(rules: Rules, pipelines: Mapping[Path, Pipeline]) -> None:
    """SpecError for the first rule whose inputs are not those of its pipeline."""
    for number, rule in enumerate(rules.rules):
        pipeline = pipelines[rule.pipeline]
        known = ", ".join(pipeline.inputs) or "none"
        if unknown := [name for name in rule.inputs if name not in pipeline.inputs]:
            words = f"has no input {unknown[0]} (its inputs: {known})"
        elif missing := [name for name in pipeline.inputs if name not in rule.inputs]:
            words = f"needs the input {missing[0]}, which the rule does not give"
        else:
            continue
        raise SpecError(f"rules.{number}.inputs: pipeline {pipeline.name} of {rule.pipeline} {words}")


@dataclass(frozen=True)
class Trigger:
    """A rule is to act on a change."""

    rule: Rule
    event: Event


class _Waiting(NamedTuple):
    """A change that waits for its key to be quiet: the last, when the first came, and when it is acted on."""

    event: Event
    first_s: float
    due_s: float


class RuleTable:
    """Which changes are to be acted on, and when. `troubles` counts values that a condition cannot take."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules.rules
        self._waiting: dict[tuple[int, str], _Waiting] = {}
        # One entry for each that waits, no later than it is due; one that comes up early is put in again.
        self._due: list[tuple[float, int, str]] = []
        self.troubles = 0
        self.dropped = 0

    def changed(self, event: Event, now_s: float) -> list[Trigger]:
        """What is to be done at once; what is debounced comes by `pass_time`."""
        triggers = []
        for number, rule in enumerate(self._rules):
            try:
                if not rule.matches(event):
                    continue
            except InputError:
                self.troubles += 1
                continue
            if rule.debounce_s == 0:
                triggers.append(Trigger(rule, event))
            else:
                self._wait(number, rule, event, now_s)
        return triggers

    def pass_time(self, now_s: float) -> list[Trigger]:
        """Changes that have been quiet for long enough."""
        triggers = []
        while self._due and self._due[0][0] <= now_s:
            _, number, key = heappop(self._due)
            waiting = self._waiting[number, key]
            if waiting.due_s > now_s:
                heappush(self._due, (waiting.due_s, number, key))
            else:
                del self._waiting[number, key]
                triggers.append(Trigger(self._rules[number], waiting.event))
        return triggers

    def next_due_s(self) -> float | None:
        """When `pass_time` has something to do next, at the earliest."""
        return self._due[0][0] if self._due else None

    def _wait(self, number: int, rule: Rule, event: Event, now_s: float) -> None:
        before = self._waiting.get((number, event.key))
        if before is None and len(self._waiting) >= _MAX_WAITING:
            self.dropped += 1
            return
        first_s = now_s if before is None else before.first_s
        due_s = min(now_s + rule.debounce_s, first_s + _LONGEST_DEBOUNCES * rule.debounce_s)
        self._waiting[number, event.key] = _Waiting(event, first_s, due_s)
        if before is None:
            heappush(self._due, (due_s, number, event.key))


def _value(event: Event, reference: Reference) -> Any:
    start = event.key if reference.path[0] == "key" else event.value
    return value_at(start, reference.path[1:])
