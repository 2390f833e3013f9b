"""Entry point of the `tercet` command.

Subcommands come from the entry point groups `tercet.commands.EXTRA`: a group's commands are offered where that
extra is installed, and named with the missing packages where it is not. Several extras may offer a command of the
same name, each as far as it can; the one of the richest extra that is installed runs. Only the command that runs is
imported, and by `tercet --help`, which shows a line of each, every command that is offered.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from tercet import __version__
from tercet.cli.extras import missing_packages
from tercet.error_codes import codes_of
from tercet.errors import MissingExtraError, TercetError
from tercet.printable import printable

GROUP_PREFIX = "tercet.commands."
# Where several extras offer a command, the first of these that is installed gives it.
RICHEST_FIRST = ("demo", "cloud", "edge", "device")


class TercetCommands(click.Group):
    """Finds commands by entry point, lazily."""

    def __init__(self) -> None:
        super().__init__(
            name="tercet",
            help="Run one neural network across devices, edge gateways and a cloud.",
            epilog="Start with `tercet demo`. Every command has --help.",
            context_settings={"help_option_names": ["-h", "--help"]},
            params=[_version_option()],
        )
        self._points: dict[str, dict[str, EntryPoint]] = {}
        for group in sorted(entry_points().groups, key=_richness):
            if group.startswith(GROUP_PREFIX):
                for point in entry_points(group=group):
                    self._points.setdefault(point.name, {}).setdefault(group.removeprefix(GROUP_PREFIX), point)

    def invoke(self, ctx: click.Context) -> Any:
        """Caught here, because click's own `main` makes status 1 of a broken pipe."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The reader of our output left (`| head`); let nothing be flushed into the broken pipe at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(141) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(name for name, offers in self._points.items() if _installed(offers))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._points:
            return None
        offers = self._points[cmd_name]
        # Asked before importing: commands import what they need as late as they can.
        extra = _installed(offers)
        if extra is None:
            raise missing_extra(cmd_name, min(offers, key=lambda extra: len(missing_packages(extra))))
        point = offers[extra]
        command = point.load()
        if not isinstance(command, click.Command):
            raise TypeError(f"entry point {point.value} is not a click command")
        return command


def _richness(group: str) -> tuple[int, str]:
    """The place of a group among those that offer the same command."""
    extra = group.removeprefix(GROUP_PREFIX)
    return (RICHEST_FIRST.index(extra) if extra in RICHEST_FIRST else len(RICHEST_FIRST), extra)


def _installed(offers: Iterable[str]) -> str | None:
    """The first extra of which nothing is missing here."""
    return next((extra for extra in offers if not missing_packages(extra)), None)


def missing_extra(command: str, extra: str) -> MissingExtraError:
    lacking = ", ".join(missing_packages(extra))
    return MissingExtraError(f"`tercet {command}` needs {lacking}: run `pip install 'tercet[{extra}]'`")


def _version_option() -> click.Option:
    def show(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            click.echo(f"tercet {__version__}")
            context.exit()

    return click.Option(
        ["--version"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=show,
        help="Show the version.",
    )


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit status. Tercet's errors become one line on stderr."""
    try:
        outcome = TercetCommands().main(args=list(arguments), prog_name="tercet", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("tercet: interrupted", err=True)
        return 130
    except KeyboardInterrupt:
        click.echo("tercet: interrupted", err=True)
        return 130
    except TercetError as error:
        return _tell(error)
    except ExceptionGroup as group:
        # What leaves a task group is wrapped in one; Tercet's errors in it are still meant for people.
        ours, foreign = group.split(TercetError)
        if ours is None or foreign is not None:
            raise
        return _tell(_first_leaf(ours))
    return outcome if isinstance(outcome, int) else 0


def _tell(error: BaseException) -> int:
    click.echo(f"tercet: {printable(str(error))}", err=True)
    return codes_of(error).exit_status


def _first_leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def main() -> None:
    sys.exit(run(sys.argv[1:]))
