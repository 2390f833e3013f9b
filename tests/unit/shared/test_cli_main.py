"""`tercet` offers what is installed, names what is missing, and turns every error into one line and a status.

Commands come from a distribution "tercet" written into a folder in front of the import path, so that what is
tested is the real search for entry points and extras.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tercet import __version__
from tercet.cli.extras import missing_packages
from tercet.cli.main import run
from tercet.error_codes import CODES
from tercet.errors import LinkDownError, MissingExtraError, NotFoundError

METADATA = """Metadata-Version: 2.1
Name: tercet
Version: 0
Requires-Dist: click
Requires-Dist: surely-missing-everywhere; extra == "other"
Requires-Dist: click>=8; extra == "here"
Requires-Dist: surely-missing-one; extra == "absent"
Requires-Dist: click; extra == "absent"
Requires-Dist: surely-missing-two>=3; extra == "absent"
Requires-Dist: never-needed; python_version < "3" and extra == "here"
Requires-Dist: tercet[here,absent]; extra == "all"
Requires-Dist: surely-missing-three; extra == "cloud"
Requires-Dist: surely-missing-four; extra == "cloud"
Requires-Dist: click; extra == "device"
Requires-Dist: EDGE; extra == "edge"
"""
ENTRY_POINTS = """[tercet.commands.here]
greet = ghost_commands:greet
fail = ghost_commands:fail

[tercet.commands.absent]
heavy = ghost_heavy:heavy

[tercet.commands.all]
whole = ghost_commands:greet

[tercet.commands.device]
joint = ghost_commands:greet

[tercet.commands.edge]
joint = ghost_commands:fail
unmet = ghost_commands:greet

[tercet.commands.cloud]
joint = ghost_heavy:heavy
unmet = ghost_heavy:heavy
"""
COMMANDS = '''
import click
from tercet.errors import LinkDownError, NotFoundError, SpecError


@click.command()
@click.option("--status", type=int, default=None)
def greet(status):
    """Say hello."""
    click.echo("hello")
    return status


@click.command()
@click.argument("how")
def fail(how):
    """Fail somehow."""
    down = LinkDownError("no broker at mqtt://x: start one")
    if how == "link":
        raise down
    if how == "lines":
        raise NotFoundError("no\\nfile \\x1b[2Jof yours")
    if how == "group":
        raise ExceptionGroup("tasks", [ExceptionGroup("inner", [down]), SpecError("second")])
    if how == "mixed":
        raise ExceptionGroup("tasks", [down, KeyError("bug")])
    if how == "interrupt":
        raise KeyboardInterrupt
    raise KeyError("bug")
'''


@pytest.fixture
def edge_needs() -> str:
    """What the extra edge needs."""
    return "click"


@pytest.fixture
def ghosts(tmp_path: Path, edge_needs: str) -> Path:
    """A folder with a distribution of several extras, some of which are not installed."""
    info = tmp_path / "tercet-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA.replace("EDGE", edge_needs))
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "ghost_commands.py").write_text(COMMANDS)
    (tmp_path / "ghost_heavy.py").write_text("raise AssertionError('imported without its packages')")
    return tmp_path


Tercet = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tercet(ghosts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Tercet]:
    monkeypatch.syspath_prepend(str(ghosts))
    missing_packages.cache_clear()

    def call(*arguments: str) -> tuple[int, str, str]:
        status = run(arguments)
        out, err = capsys.readouterr()
        return status, out, err

    yield call
    missing_packages.cache_clear()
    sys.modules.pop("ghost_commands", None)


def test_help_lists_only_what_is_installed(tercet: Tercet) -> None:
    status, out, _ = tercet("--help")
    assert status == 0
    assert "greet  Say hello." in out
    assert "heavy" not in out
    assert "whole" not in out
    assert tercet("-h")[1] == out


def test_no_arguments_show_the_help(tercet: Tercet) -> None:
    status, out, err = tercet()
    assert status != 0
    assert "Usage: tercet" in out + err


def test_the_version_is_told(tercet: Tercet) -> None:
    assert tercet("--version") == (0, f"tercet {__version__}\n", "")


def test_a_command_runs_and_its_status_is_the_exit_status(tercet: Tercet) -> None:
    assert tercet("greet") == (0, "hello\n", "")
    assert tercet("greet", "--status", "7") == (7, "hello\n", "")


def test_a_command_without_its_packages_says_what_to_install_and_is_not_imported(tercet: Tercet) -> None:
    status, out, err = tercet("heavy", "--help")
    assert status == CODES[MissingExtraError].exit_status
    assert out == ""
    assert err == (
        "tercet: `tercet heavy` needs surely-missing-one, surely-missing-two: run `pip install 'tercet[absent]'`\n"
    )


def test_extras_of_extras_count(tercet: Tercet) -> None:
    assert missing_packages("all") == ("surely-missing-one", "surely-missing-two")
    assert missing_packages("here") == ()
    assert "pip install 'tercet[all]'" in tercet("whole")[2]


def test_of_several_extras_the_richest_installed_one_gives_a_command(tercet: Tercet) -> None:
    """Of cloud, edge and device, all of which offer it, cloud lacks packages."""
    assert "joint" in tercet("--help")[1]
    assert "Fail somehow." in tercet("joint", "--help")[1]


@pytest.mark.parametrize("edge_needs", ["surely-missing-five"])
def test_a_command_of_several_extras_needs_only_one_of_them(tercet: Tercet) -> None:
    assert tercet("joint") == (0, "hello\n", "")


@pytest.mark.parametrize("edge_needs", ["surely-missing-five"])
def test_a_command_of_several_missing_extras_names_the_nearest(tercet: Tercet) -> None:
    status, out, err = tercet("unmet")
    assert (status, out) == (CODES[MissingExtraError].exit_status, "")
    assert err == "tercet: `tercet unmet` needs surely-missing-five: run `pip install 'tercet[edge]'`\n"


def test_an_unknown_command_is_a_usage_error(tercet: Tercet) -> None:
    status, out, err = tercet("frobnicate")
    assert (status, out) == (2, "")
    assert "No such command 'frobnicate'" in err


def test_a_bad_option_is_a_usage_error_with_the_usage(tercet: Tercet) -> None:
    status, _, err = tercet("greet", "--loud")
    assert status == 2
    assert "Usage: tercet greet" in err
    assert "--loud" in err


def test_an_error_of_ours_is_one_line_and_its_status(tercet: Tercet) -> None:
    assert tercet("fail", "link") == (
        CODES[LinkDownError].exit_status,
        "",
        "tercet: no broker at mqtt://x: start one\n",
    )


def test_a_peers_line_breaks_and_escape_sequences_do_not_reach_the_terminal(tercet: Tercet) -> None:
    assert tercet("fail", "lines") == (
        CODES[NotFoundError].exit_status,
        "",
        "tercet: no\\nfile \\x1b[2Jof yours\n",
    )


def test_an_error_that_leaves_a_task_group_is_still_one_line(tercet: Tercet) -> None:
    status, _, err = tercet("fail", "group")
    assert (status, err) == (CODES[LinkDownError].exit_status, "tercet: no broker at mqtt://x: start one\n")


def test_our_bugs_are_not_hidden(tercet: Tercet) -> None:
    with pytest.raises(KeyError):
        tercet("fail", "otherwise")
    with pytest.raises(ExceptionGroup):
        tercet("fail", "mixed")


def test_an_interrupt_ends_with_130(tercet: Tercet) -> None:
    status, out, err = tercet("fail", "interrupt")
    assert (status, out) == (130, "")
    assert err.strip() == "tercet: interrupted"


def test_a_reader_that_leaves_is_no_error(ghosts: Path) -> None:
    """As in `tercet greet | head -0`."""
    path = os.pathsep.join([str(ghosts), *sys.path])
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", "from tercet.cli.main import main; main()", "greet"],
            stdout=writer,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            timeout=30,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
