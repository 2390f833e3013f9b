"""What holds for every file of the repository, and is cheap to check."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import click
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("shared/tercet", "device/tercet_device", "edge/tercet_edge", "cloud/tercet_cloud")
MAX_LINES = 600
# Settings, and the set-up of Ray and HAProxy, which take theirs in no other way.
ENVIRONMENT_READERS = {"shared/tercet/settings.py", "cloud/tercet_cloud/serving/cluster.py"}
WALL_CLOCK_READERS = {"shared/tercet/wall_clock.py"}
GENERATED = ROOT / "shared/tercet/v1"

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def modules(*roots: str) -> list[Path]:
    found = [path for root in roots for path in sorted((ROOT / root).rglob("*.py"))]
    return [path for path in found if not path.is_relative_to(GENERATED)]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def pins() -> dict[str, str]:
    """Versions by distribution."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


@pytest.mark.parametrize("path", modules(*SOURCE_ROOTS), ids=relative)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", modules(*SOURCE_ROOTS, "tests"), ids=relative)
def test_no_module_is_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", modules(*SOURCE_ROOTS), ids=relative)
def test_only_settings_read_the_environment(path: Path) -> None:
    """Passing it on to a child as a whole, or giving a library a default, is another matter."""
    reads = re.findall(
        r"os\.getenv\(|os\.environ\[|os\.environ\.get\(|in os\.environ\b", path.read_text(encoding="utf-8")
    )
    assert not reads or relative(path) in ENVIRONMENT_READERS


@pytest.mark.parametrize("path", modules(*SOURCE_ROOTS), ids=relative)
def test_only_one_module_reads_the_wall_clock(path: Path) -> None:
    """Durations and deadlines by it would jump with it."""
    reads = re.findall(
        r"time\.time(?:_ns)?\(|time\.(?:ctime|localtime|gmtime)\(\)|datetime\.(?:now|utcnow|today)\(|date\.today\("
        r"|CLOCK_REALTIME|strftime\([^,()]*\)|time import [^\n]*\btime\b",
        path.read_text(encoding="utf-8"),
    )
    assert not reads or relative(path) in WALL_CLOCK_READERS


def test_every_proof_that_the_docs_name_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/reliability.md").read_text(encoding="utf-8")))
    defined = {
        name
        for path in modules("tests")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert named
    assert named <= defined


def points() -> list[EntryPoint]:
    scripts = [EntryPoint(name, value, "console_scripts") for name, value in PROJECT["scripts"].items()]
    groups = PROJECT["entry-points"].items()
    return scripts + [EntryPoint(name, value, group) for group, of in groups for name, value in of.items()]


@pytest.mark.parametrize("point", points(), ids=lambda point: point.name)
def test_every_command_there_is_can_be_imported(point: EntryPoint) -> None:
    loaded = point.load()
    assert callable(loaded)
    assert point.group == "console_scripts" or isinstance(loaded, click.Command)


def test_torch_is_spelled_so_that_pip_finds_the_small_build() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.match(r"torch\b", line)] == ["torch==2.13.0"]
    assert "torch==2.13.0" in PROJECT["optional-dependencies"]["cloud"]


def test_every_pin_is_exact_and_stands_once() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!_]+", line) for line in lines)
    assert len(pins()) == len(lines)


def requirements() -> list[str]:
    extras = PROJECT["optional-dependencies"].values()
    every = {*PROJECT["dependencies"], *(text for extra in extras for text in extra)}
    return sorted(text for text in every if Requirement(text).name != PROJECT["name"])


@pytest.mark.parametrize("text", requirements())
def test_every_requirement_is_pinned_within_its_bounds(text: str) -> None:
    requirement = Requirement(text)
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])
