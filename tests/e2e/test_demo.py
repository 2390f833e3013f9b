"""The main job as a user runs it: `tercet demo`, then `tercet infer` against the stack it keeps."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.processes import TERCET, alive
from tercet.error_codes import CODES
from tercet.errors import InputError, LinkDownError, NotFoundError
from tercet.models.manifest import Manifest
from tercet.models.store import Store
from tercet.plans import Deployment, read_deployment

PHOTOS = 12
START_S = 240.0
GONE_WITHIN_S = 30.0


@dataclass(frozen=True)
class KeptDemo:
    process: subprocess.Popen[bytes]
    out: Path
    stack: Path

    def infer(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(TERCET), "infer", "--stack", str(self.stack), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def photos(self) -> list[str]:
        return sorted(str(path) for path in (self.out / "device-1" / "photos").iterdir())


@contextlib.contextmanager
def kept_demo(out: Path, store: Store) -> Iterator[KeptDemo]:
    arguments = ["--frames", str(PHOTOS), "--devices", "2", "--keep", "--out", str(out), "--store", str(store.root)]
    out.mkdir(parents=True)
    with (out / "demo.log").open("wb") as log:
        process = subprocess.Popen([str(TERCET), "demo", *arguments], stdout=log, stderr=log)
    tree: list[psutil.Process] = []
    try:
        deadline_s = time.monotonic() + START_S
        while not (out / "stack.json").exists():
            text = (out / "demo.log").read_text(errors="replace")
            assert process.poll() is None, text
            assert time.monotonic() < deadline_s, text
            time.sleep(0.1)
        tree = psutil.Process(process.pid).children(recursive=True)
        yield KeptDemo(process, out, out / "stack.json")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        finally:
            process.kill()
    assert process.returncode == 0, (out / "demo.log").read_text(errors="replace")
    assert alive(tree, within_s=GONE_WITHIN_S) == []


@pytest.fixture(scope="module")
def demo(model_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptDemo]:
    with kept_demo(tmp_path_factory.mktemp("demo") / "out", model_store) as running:
        yield running


@pytest.fixture(scope="module")
def summary(demo: KeptDemo) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((demo.out / "summary.json").read_text())
    return data


@pytest.fixture(scope="module")
def deployment(demo: KeptDemo) -> Deployment:
    return read_deployment(demo.out / "deployment.yaml")


@pytest.fixture(scope="module")
def manifest(deployment: Deployment, model_store: Store) -> Manifest:
    return model_store.manifest(deployment.model)


SENT = ("planned", "raw", "fp16", "int8")


def test_every_frame_is_answered_as_planned(summary: dict[str, Any]) -> None:
    assert summary["photos"] == PHOTOS
    assert summary["frames"] == summary["answered"] == len(SENT) * PHOTOS
    assert (summary["lost"], summary["degraded"], summary["failures"]) == (0, 0, [])


def test_the_plans_come_from_the_planner_and_baselines_stand_beside_them(
    summary: dict[str, Any], deployment: Deployment
) -> None:
    plans = {plan["plan"]: plan for plan in summary["plans"]}
    assert list(plans) == [plan.id for plan in deployment.plans]
    assert list(plans) == [*SENT, "all-device", "all-cloud-jpeg"]
    assert all(plan["predicted_ms"] > 0 and plan["measured_ms"] > 0 for plan in plans.values())
    others = [plan["predicted_ms"] for plan in plans.values() if not plan["note"]]
    assert plans["planned"]["predicted_ms"] == min(others)
    assert plans["all-device"]["device_edge_bytes"] == 0
    assert "jpeg" in plans["all-cloud-jpeg"]["route"]


def test_emulation_is_named_wherever_figures_are_shown(demo: KeptDemo, summary: dict[str, Any]) -> None:
    assert summary["setting"].startswith("Emulated on one machine: device–edge 20/20 Mbit/s")
    assert "device 20× slower; edge 6× slower" in summary["setting"]
    assert "Emulated on one machine" in (demo.out / "demo.log").read_text()
    assert "emulated, 20× slower" in demo.infer("--plan", "int8", demo.photos()[0]).stdout


def test_frames_take_the_way_of_their_plan(
    summary: dict[str, Any], deployment: Deployment, manifest: Manifest
) -> None:
    last = len(manifest.segments)
    expected: Counter[str] = Counter()
    for plan_id in SENT:
        plan = deployment.plan(plan_id)
        stops = {"device": (0, plan.device_until), "edge": (plan.device_until, plan.edge_until)}
        stops["cloud"] = (plan.edge_until, last)
        steps = [f"{tier} {start}→{stop}" for tier, (start, stop) in stops.items()]
        if plan.edge_until == last:
            steps = steps[:1] if plan.device_until == last else steps[:2]
        expected[" · ".join(steps)] += PHOTOS
    assert summary["routes"] == dict(expected)


def test_the_cut_network_answers_as_the_uncut_one(summary: dict[str, Any]) -> None:
    assert summary["agreement"]["raw"] == 1.0
    assert summary["agreement"].keys() == set(SENT)
    assert summary["max_abs_error_raw"] <= 1e-4


def test_every_link_carries_what_its_codec_promises(
    summary: dict[str, Any], deployment: Deployment, manifest: Manifest
) -> None:
    """And a header of a few hundred bytes."""
    plan = deployment.plan("raw")
    for link, boundary in (("device_edge", plan.device_until), ("edge_cloud", plan.edge_until)):
        (tensor,) = manifest.boundaries[boundary].tensors
        raw_bytes = 4 * prod(size for size in tensor.shape if size)
        sizes = summary["bytes_per_frame"][link]
        assert raw_bytes < sizes["raw"] < raw_bytes + 500
        assert raw_bytes / 2 < sizes["fp16"] < raw_bytes / 2 + 500
        assert raw_bytes / 4 < sizes["int8"] < raw_bytes / 4 + 2000 + 8 * (tensor.shape[1] or 0)


def test_the_latency_is_split_among_tiers_and_links(summary: dict[str, Any]) -> None:
    assert summary["latency_ms"]["p50"] <= summary["latency_ms"]["p99"]
    assert summary["share_of_latency"].keys() == {"device", "device_edge", "edge", "edge_cloud", "cloud"}
    assert sum(summary["share_of_latency"].values()) == pytest.approx(1, abs=0.01)


def test_every_tier_is_a_process_of_its_own(summary: dict[str, Any]) -> None:
    processes = summary["processes"]
    assert sorted(process["tier"] for process in processes) == ["cloud", "device", "device", "edge"]
    assert len({process["pid"] for process in processes}) == 4
    assert all(process["rss_mb"] > 0 for process in processes)


def test_a_device_chooses_its_plans_while_the_link_steps(demo: KeptDemo, summary: dict[str, Any]) -> None:
    step = summary["step"]
    assert step["lost"] == 0
    # Which is best depends on how fast this machine is at the moment; the choice itself is tested elsewhere.
    assert {phase["plan"] for phase in step["phases"]} <= {"raw", "int8", "planned", "all-device"}
    assert "emulated link   1 Mbit/s" in (demo.out / "demo.log").read_text()
    assert "its link goes from 20 to 1 Mbit/s and back" in step["setting"]


def test_a_cascade_answers_every_photo_and_its_audit_reports(summary: dict[str, Any]) -> None:
    cascade = summary["cascade"]
    assert cascade["answered"] == cascade["frames"] == sum(stage["answered"] for stage in cascade["stages"])
    near, far = cascade["stages"]
    assert (near["tier"], far["tier"]) == ("device", "cloud")
    assert near["answered"] > 0
    (audit,) = cascade["audits"]
    assert audit["judged"] == cascade["frames"]
    assert audit["exited"] == near["answered"]
    assert audit["wrong"] <= audit["audited"]
    assert audit["bound"] <= audit["alpha"] == 0.1
    assert "Emulated on one machine" in cascade["setting"]


def test_infer_says_label_confidence_route_and_times(demo: KeptDemo) -> None:
    outcome = demo.infer("--plan", "raw", *demo.photos()[:2])
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.count("plan raw") == outcome.stdout.count("route  device 0→") == 2
    assert outcome.stdout.count("ms here") == 6


def test_infer_speaks_json_line_by_line(demo: KeptDemo) -> None:
    outcome = demo.infer("--json", "--plan", "int8", demo.photos()[0])
    (line,) = outcome.stdout.splitlines()
    record = json.loads(line)
    assert record["plan"] == "int8"
    assert record["label"]
    assert len(record["visits"]) == 3


def test_an_unreadable_image_costs_the_others_nothing(demo: KeptDemo, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(demo.photos()[0]).read_bytes()[:1000])
    outcome = demo.infer(str(broken), str(tmp_path / "missing.jpg"), demo.photos()[0])
    assert outcome.returncode == CODES[InputError].exit_status
    assert "cannot be read" in outcome.stdout
    assert "no such image" in outcome.stdout
    assert "route" in outcome.stdout


def test_an_unknown_plan_is_refused_with_those_there_are(demo: KeptDemo) -> None:
    outcome = demo.infer("--plan", "warp", demo.photos()[0])
    assert outcome.returncode == CODES[NotFoundError].exit_status
    assert "known: planned, raw, fp16, int8" in outcome.stderr


def test_infer_without_a_stack_says_how_to_start_one(tmp_path: Path) -> None:
    outcome = subprocess.run(
        [str(TERCET), "infer", "--stack", str(tmp_path / "stack.json"), "photo.jpg"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert outcome.returncode == CODES[NotFoundError].exit_status
    assert "tercet demo --keep" in outcome.stderr


def test_infer_against_a_stack_that_is_gone_says_so(demo: KeptDemo, tmp_path: Path) -> None:
    stack = json.loads(demo.stack.read_text())
    stale = tmp_path / "stack.json"
    stale.write_text(json.dumps({**stack, "broker_url": "mqtt://127.0.0.1:9"}))
    outcome = subprocess.run(
        [str(TERCET), "infer", "--stack", str(stale), demo.photos()[0]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert outcome.returncode == CODES[LinkDownError].exit_status
    assert "no broker" in outcome.stderr
