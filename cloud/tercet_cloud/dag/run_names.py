"""Names of runs: given by whoever begins one, or made up."""

from __future__ import annotations

import re
import secrets

from tercet.errors import SpecError
from tercet.printable import printable
from tercet_cloud.dag.spec import Pipeline

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_SHOWN = 120


def new_run_name(pipeline: Pipeline) -> str:
    """The pipeline's name with a random end."""
    return f"{pipeline.name}-{secrets.token_hex(4)}"


def check_run_name(name: str) -> str:
    """Return a name that a run may have; SpecError for any other."""
    if not re.fullmatch(_NAME, name):
        raise SpecError(
            f"run {printable(name, _SHOWN)!r}: use 1-100 letters, digits, '.', '_' and '-' as its name, "
            "a letter or digit first"
        )
    return name
