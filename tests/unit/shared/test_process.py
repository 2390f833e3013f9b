"""The first signal asks, a later one ends; no task and no child is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tercet.errors import LinkDownError
from tercet.process import Shutdown, run_service, until_shutdown

SERVICE = """
import asyncio, sys
from tercet.process import run_service

async def main(shutdown):
    print("ready", flush=True)
    await shutdown.wait()
    print("asked", flush=True)
    if sys.argv[1] == "stubborn":
        await asyncio.Event().wait()
    return 3

sys.exit(run_service(main))
"""
PARENT = """
import subprocess, sys
from tercet.process import die_with_parent

child = subprocess.Popen(
    [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"],
    stdout=subprocess.PIPE, preexec_fn=die_with_parent,
)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""


@contextmanager
def python(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A child that has said its first line is up to the caller; it is gone afterwards in any case."""
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        with child:
            yield child
            if child.poll() is None:
                child.kill()
    finally:
        if child.poll() is None:
            child.kill()


def said(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_asks_and_the_service_leaves_with_its_own_status(number: signal.Signals) -> None:
    with python(SERVICE, "willing") as child:
        assert said(child) == "ready"
        child.send_signal(number)
        assert said(child) == "asked"
        assert child.wait(timeout=10) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_does_not_leave_is_ended_by_asking_again(number: signal.Signals) -> None:
    with python(SERVICE, "stubborn") as child:
        assert said(child) == "ready"
        child.send_signal(number)
        assert said(child) == "asked"
        for _ in range(100):
            child.send_signal(number)
            try:
                status = child.wait(timeout=0.1)
                break
            except subprocess.TimeoutExpired:
                continue
        assert status == 128 + number


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_child_dies_with_its_parent_however_that_ends() -> None:
    with python(PARENT) as parent:
        child = int(said(parent))
        parent.kill()
        parent.wait(timeout=10)
        # Without a parent the child is waited for by init, or stays a zombie where nobody is: both are dead.
        for _ in range(500):
            stat = Path(f"/proc/{child}/stat")
            try:
                state = stat.read_text().rpartition(")")[2].split()[0]
            except (FileNotFoundError, ProcessLookupError):
                return
            if state == "Z":
                return
            os.sched_yield()
            signal.sigtimedwait([], 0.01)
        os.kill(child, signal.SIGKILL)
        pytest.fail("the child outlived its parent")


def test_a_service_that_ends_by_itself_gives_its_status() -> None:
    async def main(shutdown: Shutdown) -> int:
        return 5 if not shutdown.requested else 6

    assert run_service(main) == 5


def test_an_error_of_a_service_leaves_it() -> None:
    async def main(shutdown: Shutdown) -> int:
        raise LinkDownError("no broker")

    with pytest.raises(LinkDownError):
        run_service(main)


async def no_tasks_left() -> bool:
    await asyncio.sleep(0)
    return asyncio.all_tasks() == {asyncio.current_task()}


async def test_work_that_ends_ends_the_wait() -> None:
    async def work() -> None:
        await asyncio.sleep(0)

    await until_shutdown(Shutdown(), work())
    assert await no_tasks_left()


async def test_a_shutdown_cancels_the_work_and_waits_for_its_clean_up() -> None:
    shutdown = Shutdown()
    events: list[str] = []

    async def work() -> None:
        try:
            shutdown.request()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            events.append("cleaned up")

    await until_shutdown(shutdown, work())
    assert events == ["cleaned up"]
    assert await no_tasks_left()


async def test_an_error_of_the_work_is_raised_and_nothing_left_behind() -> None:
    async def work() -> None:
        raise LinkDownError("gone")

    with pytest.raises(LinkDownError):
        await until_shutdown(Shutdown(), work())
    assert await no_tasks_left()


async def test_an_error_while_cleaning_up_is_raised_too() -> None:
    shutdown = Shutdown()

    async def work() -> None:
        try:
            shutdown.request()
            await asyncio.Event().wait()
        finally:
            raise LinkDownError("could not say goodbye")

    with pytest.raises(LinkDownError):
        await until_shutdown(shutdown, work())
    assert await no_tasks_left()


async def test_cancelling_the_wait_cancels_the_work_and_the_shutdown_is_usable_afterwards() -> None:
    shutdown = Shutdown()
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    waiting = asyncio.create_task(until_shutdown(shutdown, work()))
    await started.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await no_tasks_left()
    shutdown.request()
    await until_shutdown(shutdown, work())
    assert await no_tasks_left()
