"""The grammar of codec specifications: text to stages and back, without knowing what any stage does.

    spec     := stage ("+" stage)*
    stage    := name (":" argument)*
    name     := letter, then letters, digits, "." or "%"        int8   top2.5%   thr0.05   zstd
    argument := letters, digits, "." "%" "@" "-"                90   channel   static@0123456789ab

`stage.py` says in which order stages may stand, the stages' own files what their names and arguments mean.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tercet.errors import SpecError

MAX_SPEC_CHARS = 256
_STAGE = re.compile(r"[a-z][a-z0-9.%]*(:[A-Za-z0-9.%@-]+)*")


@dataclass(frozen=True)
class StageText:
    """One stage as written: its name, and its arguments in order."""

    name: str
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ":".join((self.name, *self.arguments))

    def wrong(self, known: str) -> SpecError:
        """What to raise for this stage; `known` says what it may be."""
        return SpecError(f"codec stage {str(self)!r}: {known}")

    def without_arguments(self) -> None:
        """SpecError if there are arguments."""
        if self.arguments:
            raise self.wrong(f"{self.name} takes no arguments")


def split_spec(spec: str) -> tuple[StageText, ...]:
    """The stages of a specification, in order; SpecError naming the first that is not one."""
    if len(spec) > MAX_SPEC_CHARS:
        raise SpecError(f"a codec specification of {len(spec)} characters; {MAX_SPEC_CHARS} is the most")
    stages = []
    for text in spec.split("+"):
        if not _STAGE.fullmatch(text):
            raise SpecError(
                f"codec {spec!r}: {text!r} is not a stage; write NAME or NAME:ARGUMENT:…, "
                "several joined by '+', e.g. top10%+int8+zstd:3"
            )
        name, *arguments = text.split(":")
        stages.append(StageText(name, tuple(arguments)))
    return tuple(stages)


def parse_decimal(text: str) -> float | None:
    """A plain decimal such as 10, 2.5 or 0.05; None for anything else (signs, exponents, nan)."""
    return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text, re.ASCII) else None


def format_decimal(number: float) -> str:
    """The one spelling of a number that `parse_decimal` gave: no exponent, no trailing zeros."""
    return f"{number:.9f}".rstrip("0").rstrip(".")
