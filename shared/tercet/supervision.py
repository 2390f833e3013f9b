"""Runs a command as a child, and again when it crashes: `tercet device|edge|cloud run --supervise`.

    python -m tercet.supervision TIER NODE LOG_LEVEL LOG_FORMAT COMMAND…

A child that ends as it should, or for a reason that the next one would end for as well (its configuration), is not
started again; its status becomes ours. Signals to us are passed on. The child dies with us, however we end. For one
machine without systemd or Kubernetes, which do the same and more.

Imports little, for a process of its own that is small and has nothing in it that could crash: tercet.cli starts it
in its own place by exec.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from tercet.back_off import BackOff
from tercet.logs import LogFormat, configure_logging
from tercet.parent_death import die_with_parent

log = logging.getLogger(__name__)

RETRY_FIRST_S, RETRY_MOST_S = 0.2, 30.0
# A child that ran for so long did run: the next wait is short again.
STEADY_S = 10.0
# What click says of a command line that it does not understand.
_EX_COMMAND_LINE = 2
# A child's word for: my work is done, though not all of it well. Not of sysexits.h, which ends at 78.
FINISHED_BADLY = 79
_FINAL = frozenset(
    {
        os.EX_OK,
        _EX_COMMAND_LINE,
        os.EX_USAGE,
        os.EX_DATAERR,
        os.EX_NOINPUT,
        os.EX_PROTOCOL,
        os.EX_NOPERM,
        os.EX_CONFIG,
        FINISHED_BADLY,
    }
)
_PASSED_ON = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


@dataclass(frozen=True)
class Ending:
    """How a child ended: by a status of its own, or killed by a signal."""

    status: int = 0
    killed_by: int = 0

    @classmethod
    def of(cls, wait_status: int) -> Ending:
        """Of what `waitpid` says."""
        if os.WIFSIGNALED(wait_status):
            return cls(killed_by=os.WTERMSIG(wait_status))
        return cls(status=os.WEXITSTATUS(wait_status))

    @property
    def own_status(self) -> int:
        """The status that the supervisor ends with for it."""
        if self.killed_by:
            return 128 + self.killed_by
        return os.EX_TEMPFAIL if self.status == FINISHED_BADLY else self.status

    def __str__(self) -> str:
        return f"killed by signal {self.killed_by}" if self.killed_by else f"status {self.status}"


def verdict(ending: Ending, *, asked_to_end: bool) -> Literal["leave", "restart"]:
    """What to do after a child ended. A hang-up asks those to end that do not know it for something else."""
    if asked_to_end or ending.killed_by == signal.SIGHUP or (not ending.killed_by and ending.status in _FINAL):
        return "leave"
    return "restart"


class _This:
    """Whether this process is such a child; set by `tercet.cli.supervised` alone."""

    supervised = False


def mark_supervised() -> None:
    _This.supervised = True


def status_of_work(status: int) -> int:
    """How a process that has done its work, with `status`, ends: a supervisor must not have it done again."""
    return FINISHED_BADLY if _This.supervised and status else status


def supervise(command: Sequence[str]) -> int:
    """Keep `command` running; returns the status to end with. For the main thread of a process of its own."""
    # Signals are waited for, not handled: none is missed, and none interrupts anything.
    passed_on = {number for number in _PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, passed_on | {signal.SIGCHLD})
    watched = passed_on | {signal.SIGCHLD}
    back_off = BackOff(RETRY_FIRST_S, RETRY_MOST_S)
    while True:
        began_s = time.monotonic()
        child = _start(command, before)
        ending, asked = _watch(child, watched)
        if verdict(ending, asked_to_end=asked) == "leave":
            if not asked and ending.own_status:
                log.error("ended, not started again", extra={"ending": str(ending)})
            return ending.own_status
        if time.monotonic() - began_s >= STEADY_S:
            back_off.reset()
        wait_s = back_off.wait_s()
        log.warning("ended, starting it again", extra={"ending": str(ending), "in_s": round(wait_s, 2)})
        if signal.sigtimedwait(passed_on, wait_s) is not None:
            return os.EX_OK


def _start(command: Sequence[str], mask: Collection[int]) -> int:
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        die_with_parent()
        if os.getppid() != parent:
            # It died before we asked to be told.
            os._exit(os.EX_UNAVAILABLE)
        os.execv(command[0], list(command))
    finally:
        os._exit(os.EX_OSERR)


def _watch(child: int, watched: set[signal.Signals]) -> tuple[Ending, bool]:
    """Until the child has ended: how, and whether it was asked to."""
    asked = False
    while True:
        number = signal.sigwait(watched)
        if number != signal.SIGCHLD:
            asked = asked or number != signal.SIGHUP
            os.kill(child, number)
            continue
        ended, wait_status = os.waitpid(child, os.WNOHANG)
        if ended:
            return Ending.of(wait_status), asked


def main() -> None:
    tier, node, log_level, log_format, *command = sys.argv[1:]
    configure_logging(f"{tier} supervisor", node, log_level, cast(LogFormat, log_format))
    sys.exit(supervise(command))


if __name__ == "__main__":
    main()
