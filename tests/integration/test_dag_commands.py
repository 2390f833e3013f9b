"""`tercet pipeline` as real processes: a run as a person begins it, and one whose Ray is killed under it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from support.brokers import fresh_embedded
from support.processes import TERCET

STEPS = """
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

def noted(x: float, trace: str, idempotency_key: str) -> float:
    with Path(trace).open("a") as file:
        file.write(idempotency_key + chr(10))
    print("noted", x)
    return x + 1

def gate(x: float, trace: str) -> float:
    while not Path(trace + ".go").exists():
        time.sleep(0.05)
    return x
"""
PIPELINE = """
name: counted
inputs: {trace: text}
nodes:
  first: {call: its_steps:noted, options: {x: 1}, needs: {trace: input.trace}}
  gate: {call: its_steps:gate, needs: {x: first, trace: input.trace}}
  last: {call: its_steps:noted, needs: {x: gate, trace: input.trace}}
"""
WAIT_S = 120.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "its_steps.py").write_text(STEPS)
    (tmp_path / "counted.yaml").write_text(PIPELINE)
    return tmp_path


def tercet(folder: Path, *arguments: str, status: int = 0) -> str:
    ended = subprocess.run(
        [TERCET, "pipeline", *arguments], cwd=folder, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert ended.returncode == status, ended.stderr
    return ended.stdout if status == 0 else ended.stderr


@contextmanager
def begun(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """`tercet pipeline …` under way, and its log; killed on leaving."""
    path = folder / "process.log"
    with path.open("w") as log:
        process = subprocess.Popen([TERCET, "pipeline", *arguments], cwd=folder, stdout=log, stderr=log)
    try:
        yield process, path
    finally:
        process.kill()
        process.wait()


def test_a_run_whose_ray_is_killed_says_so_and_goes_on_by_retry(folder: Path) -> None:
    trace = folder / "trace"
    arguments = ("run", "counted.yaml", "--input", f"trace={trace}", "--name", "r", "--workers", "1")
    with begun(folder, *arguments) as (running, log):
        deadline_s = time.monotonic() + WAIT_S
        while not trace.exists():
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        time.sleep(2)
        for process in psutil.Process(running.pid).children(recursive=True):
            process.kill()
        assert running.wait(WAIT_S) != 0
    assert "tercet: " in log.read_text()
    Path(f"{trace}.go").touch()
    answer = json.loads(tercet(folder, "retry", "r", "--json", "--workers", "1"))
    assert (answer["state"], answer["outputs"]) == ("done", {"last": 3})
    assert trace.read_text().split() == ["r/first", "r/last"]
    shown = json.loads(tercet(folder, "show", "r", "--json", "--svg", "graph.svg", "--gantt", "times.svg"))
    assert [node["state"] for node in shown["nodes"]] == ["done"] * 3
    assert [(folder / name).read_text()[:4] for name in ("graph.svg", "times.svg")] == ["<svg"] * 2
    assert "noted 1" in tercet(folder, "logs", "r")
    assert json.loads(tercet(folder, "show", "r", "--json", "--outputs"))["outputs"] == {"last": 3}
    assert "show r --outputs" in tercet(folder, "retry", "r", status=65)


def test_what_is_wrong_with_a_file_or_an_input_is_said_before_anything_starts(folder: Path) -> None:
    assert "counted: " not in tercet(folder, "check", "counted.yaml")
    (folder / "bad.yaml").write_text(PIPELINE.replace("x: gate", "x: gaet"))
    assert "bad.yaml:7: nodes.last.needs.x: there is no node gaet" in tercet(folder, "check", "bad.yaml", status=65)
    assert "needs --input trace=" in tercet(folder, "run", "counted.yaml", status=66)
    assert "no runs are kept" in tercet(folder, "list", status=66)
    assert "--detach needs --ray-address" in tercet(
        folder, "run", "counted.yaml", "--input", "trace=x", "--detach", status=78
    )


async def test_a_change_over_the_broker_runs_what_the_rules_say(folder: Path) -> None:
    """And what that run tells, the next rule; also after the scheduler has died."""
    (folder / "rules.yaml").write_text(
        "rules:\n- {key: mic/*, when: event.value.level > 0.5, pipeline: one.yaml,\n"
        "   inputs: {x: event.value.level}}\n"
        "- {key: heard, pipeline: two.yaml, inputs: {x: event.value}}\n"
    )
    for name, more in (("one", "events: {heard: n}\n"), ("two", "")):
        (folder / f"{name}.yaml").write_text(
            f"name: {name}\ninputs: {{x: number}}\n{more}nodes:\n"
            f"  n: {{call: its_steps:noted, needs: {{x: input.x}}, options: {{trace: {folder / 'trace'}}}}}\n"
        )

    def reacted(log: Path) -> int:
        return log.read_text().count("reacted")

    async with fresh_embedded() as broker:
        url = str(broker)
        with begun(folder, "watch", "rules.yaml", "--broker-url", url, "--workers", "1") as (watching, log):
            await until(lambda: "broker connected" in log.read_text(), watching)
            await asyncio.sleep(0.5)
            for level in (0.1, 0.7, 0.7):
                value = json.dumps({"level": level})
                await asyncio.to_thread(tercet, folder, "publish", "mic/1", value, "--broker-url", url)
            await until(lambda: reacted(log) == 2, watching)
            children = psutil.Process(watching.pid).children(recursive=True)
            (scheduler,) = (child for child in children if "SchedulerActor" in child.name())
            scheduler.kill()
            value = json.dumps({"level": 0.9})
            await asyncio.to_thread(tercet, folder, "publish", "mic/1", value, "--broker-url", url)
            await until(lambda: reacted(log) == 4, watching)
            assert "a rule could not act" not in log.read_text()
            watching.terminate()
            assert await asyncio.to_thread(watching.wait, WAIT_S) == 0
    pipelines = [key.partition("-")[0] for key in (folder / "trace").read_text().split()]
    assert pipelines == ["one", "two", "one", "two"]


async def until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            assert process.poll() is None
            await asyncio.sleep(0.1)
