"""Which extras of the distribution are installed here, by its own metadata."""

from __future__ import annotations

import importlib.metadata
from functools import cache

from packaging.requirements import Requirement

DISTRIBUTION = "tercet"


@cache
def missing_packages(extra: str) -> tuple[str, ...]:
    """Distributions that `extra` needs and this environment lacks, extras of extras included."""
    missing: list[str] = []
    for text in importlib.metadata.requires(DISTRIBUTION) or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or marker.evaluate({"extra": ""}) or not marker.evaluate({"extra": extra}):
            continue
        if requirement.name == DISTRIBUTION:
            missing.extend(name for inner in sorted(requirement.extras) for name in missing_packages(inner))
        elif not _installed(requirement.name):
            missing.append(requirement.name)
    return tuple(dict.fromkeys(missing))


def _installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
