"""`--supervise` with real nodes: killed ones serve again where they were; what ends on purpose stays ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from support.processes import TierProcess, alive, free_port, tier_process
from support.tiny_model import tiny_card, tiny_deployment
from tercet.documents import write_document
from tercet.models.store import Store

# The promise is five seconds; the rest is for a machine that is busy with other things.
SERVING_AGAIN_S = 5.0 + 5.0
GONE_WITHIN_S = 15.0


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    store = Store(tmp_path / "store")
    write_document(tiny_deployment(store), tmp_path / "deployment.yaml")
    tiny_card(store)
    return ["--store", str(store.root), "--deployment", str(tmp_path / "deployment.yaml"), "--supervise"]


def edge_arguments(arguments: list[str], folder: Path, mqtt_port: int) -> list[str]:
    state = ["--state", str(folder / "edge-state")]
    return ["edge", "run", *arguments, *state, "--mqtt-port", str(mqtt_port), "--cloud-address", "none"]


def device_arguments(arguments: list[str], folder: Path, mqtt_port: int) -> list[str]:
    state = ["--state", str(folder / "device-state")]
    url = f"mqtt://127.0.0.1:{mqtt_port}"
    return ["device", "run", *arguments, *state, "--node", "cam-1", "--broker-url", url]


def until(done: Callable[[], bool], within_s: float, *processes: TierProcess) -> None:
    deadline_s = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline_s, "\n".join(one.stderr() for one in processes)
        time.sleep(0.05)


def serving_pid(node: TierProcess) -> int:
    """Of the process that serves; 0 if none does."""
    status, facts = node.probe("/readyz")
    return int(facts["pid"]) if status == 200 else 0


def test_a_killed_edge_and_a_killed_device_serve_again_where_they_were(
    arguments: list[str], tmp_path: Path
) -> None:
    port = free_port()
    with (
        tier_process(edge_arguments(arguments, tmp_path, port), tmp_path) as edge,
        tier_process(device_arguments(arguments, tmp_path, port), tmp_path) as device,
    ):
        for victim in (edge, device, edge):
            pid = serving_pid(victim)
            assert pid not in (0, victim.pid)
            os.kill(pid, signal.SIGKILL)
            until(lambda: serving_pid(victim) not in (0, pid), SERVING_AGAIN_S, edge, device)  # noqa: B023
            until(lambda: serving_pid(edge) and serving_pid(device), SERVING_AGAIN_S, edge, device)
        assert edge.facts()["broker"] == f"mqtt://127.0.0.1:{port}"
        for node in (device, edge):
            tree = node.tree()
            node.signal(signal.SIGTERM)
            assert node.wait() == 0
            assert alive(tree, within_s=GONE_WITHIN_S) == []


def test_a_killed_supervisor_leaves_nothing_behind(arguments: list[str], tmp_path: Path) -> None:
    with tier_process(edge_arguments(arguments, tmp_path, free_port()), tmp_path) as edge:
        tree = edge.tree()
        # The supervisor, the edge, its broker.
        assert len(tree) >= 3
        edge.signal(signal.SIGKILL)
        edge.wait()
        assert alive(tree, within_s=GONE_WITHIN_S) == []


def test_ports_that_are_chosen_are_chosen_once(arguments: list[str], tmp_path: Path) -> None:
    with tier_process(edge_arguments(arguments, tmp_path, 0), tmp_path) as edge:
        broker, pid = edge.facts()["broker"], serving_pid(edge)
        os.kill(pid, signal.SIGKILL)
        until(lambda: serving_pid(edge) not in (0, pid), SERVING_AGAIN_S, edge)
        assert edge.facts()["broker"] == broker


def test_a_wrong_setting_is_said_once_and_ends_all(arguments: list[str], tmp_path: Path) -> None:
    wrong = [*edge_arguments(arguments, tmp_path, 0), "--max-queued", "0"]
    with tier_process(wrong, tmp_path, ready_within_s=None) as edge:
        assert edge.wait() == os.EX_CONFIG
        assert edge.stderr().count("max_queued") == 1


def test_a_deployment_that_is_missing_is_not_tried_again(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "deployment.yaml").unlink()
    with tier_process(edge_arguments(arguments, tmp_path, 0), tmp_path, ready_within_s=None) as edge:
        assert edge.wait() == os.EX_NOINPUT
        assert "not started again" in edge.stderr()


def test_the_supervisor_of_a_node_is_small(arguments: list[str], tmp_path: Path) -> None:
    with tier_process(edge_arguments(arguments, tmp_path, 0), tmp_path) as edge:
        assert psutil.Process(edge.pid).memory_info().rss < 20 << 20
