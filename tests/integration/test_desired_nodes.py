"""What an operator wants reaches real nodes, costs no frame, survives restarts without broker and command line."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from support.image_model import put_image_model, random_pixels
from support.processes import TERCET, TierProcess, free_port, tier_process
from tercet.documents import write_document
from tercet.frame_record import FrameRecord, read_records
from tercet.models.store import Store
from tercet.plans import Deployment, LinkCodecs, Plan

SOON_S = 30.0


@dataclass
class Site:
    """One device and one edge of one network, and an operator."""

    folder: Path
    store: Store
    port: int
    model: str

    def deployment(self, name: str, *plans: Plan, model: str | None = None) -> Path:
        path = self.folder / f"{name}.yaml"
        write_document(Deployment.model_validate({"model": model or self.model, "plans": plans}), path)
        return path

    def edge(self, *arguments: str, ready_within_s: float | None = 60) -> Any:
        return tier_process(
            [
                *("edge", "run", "--store", str(self.store.root), "--deployment", str(self.folder / "first.yaml")),
                *("--state", str(self.folder / "edge-state"), "--mqtt-port", str(self.port)),
                *("--cloud-address", "none", *arguments),
            ],
            self.folder,
            ready_within_s=ready_within_s,
        )

    def device(self, *arguments: str, ready_within_s: float | None = 60) -> Any:
        return tier_process(
            [
                *("device", "run", "--store", str(self.store.root), "--node", "cam-1"),
                *("--deployment", str(self.folder / "first.yaml"), "--state", str(self.folder / "device-state")),
                *("--broker-url", self.broker_url, *arguments),
            ],
            self.folder,
            ready_within_s=ready_within_s,
        )

    @property
    def broker_url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def tercet(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [str(TERCET), "desired", *arguments, "--broker-url", self.broker_url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    def want(self, node: str, *deployments: Path, wait_s: int = 20) -> tuple[int, str]:
        named = [argument for path in deployments for argument in ("--deployment", str(path))]
        return self.tercet("set", node, *named, "--wait-s", str(wait_s))

    def states(self) -> dict[str, dict[str, Any]]:
        status, output = self.tercet("list", "--json")
        assert status == 0
        return {state["node"]: state for state in json.loads(output)}


FIRST = Plan(id="first", device_until=1, edge_until=2)
# The same name for another cut: what an operator should not do, and does.
SECOND = Plan(id="second", device_until=0, edge_until=2, codecs=LinkCodecs(device_edge="png"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    store = Store(tmp_path / "store")
    manifest = put_image_model(store)
    (tmp_path / "photos").mkdir()
    for number, pixels in enumerate(random_pixels(0, 3)):
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    site = Site(tmp_path, store, free_port(), manifest.ref)
    site.deployment("first", FIRST)
    return site


def until(done: Callable[[], bool], *processes: TierProcess) -> None:
    deadline_s = time.monotonic() + SOON_S
    while not done():
        assert time.monotonic() < deadline_s, "\n".join(one.stderr() for one in processes)
        time.sleep(0.1)


@contextmanager
def streaming(
    site: Site, frames: int, *arguments: str
) -> Iterator[tuple[TierProcess, Callable[[], list[FrameRecord]]]]:
    """A device that sends photos, and what it has recorded so far."""
    results = site.folder / "results.jsonl"
    source = ["--source", str(site.folder / "photos"), "--frames", str(frames), "--window", "4"]
    with site.device(*source, "--rate-hz", "100", "--results", str(results), "--no-fallback", *arguments) as device:

        def records() -> list[FrameRecord]:
            return list(read_records(results)) if results.exists() else []

        yield device, records


def test_another_deployment_costs_no_frame_on_its_way_through_edge_and_device(site: Site) -> None:
    frames = 1500
    second = site.deployment("second", SECOND)
    with site.edge() as edge, streaming(site, frames) as (device, records):
        until(lambda: len(records()) > 50, edge, device)
        # Against the flow of frames: the edge must know what the device will send.
        assert site.want("edge-1", second) == (0, "edge-1: version 1: applied\n")
        before = len(records())
        until(lambda: len(records()) > before + 50, edge, device)
        assert site.want("cam-1", second) == (0, "cam-1: version 1: applied\n")
        assert device.wait(60) == 0
        states = site.states()
    found = records()
    assert [state["state"] for state in states.values()] == ["applied", "applied"]
    assert len(found) == frames
    assert sorted(record.sequence for record in found) == list(range(1, frames + 1))
    assert not [record for record in found if record.error or record.degraded]
    assert set(Counter(record.plan for record in found)) == {"first", "second"}


def test_what_was_wanted_last_is_served_after_a_restart_without_broker_and_without_its_file(site: Site) -> None:
    second = site.deployment("second", SECOND, FIRST)
    with site.edge() as edge, site.device() as device:
        for node in ("edge-1", "cam-1"):
            assert site.want(node, second)[0] == 0
        for process in (device, edge):
            process.signal(signal.SIGKILL)
            process.wait()
    (site.folder / "first.yaml").unlink()
    second.unlink()
    # The device finds nobody, and answers by itself what the plan leaves to others.
    results = site.folder / "alone.jsonl"
    source = ["--source", str(site.folder / "photos"), "--frames", "6", "--results", str(results)]
    with site.device(*source, ready_within_s=None) as device:
        assert device.wait(60) == 0
        assert "last desired state used, not --deployment" in device.stderr()
    assert {record.plan for record in read_records(results)} == {"second"}
    assert all(record.degraded for record in read_records(results))
    with site.edge() as edge, site.device() as device:
        assert edge.facts()["desired_version"] == device.facts()["desired_version"] == 1
        until(lambda: len(site.states()) == 2, edge, device)
        # The broker has forgotten what was wanted; nodes say what they run.
        states = site.states()
        assert {state["reported"]["running"] for state in states.values()} == {1}
        assert {state["desired"] for state in states.values()} == {None}
        # The next version is after what they run, not one again.
        third = site.deployment("third", FIRST)
        assert site.want("cam-1", third) == (0, "cam-1: version 2: applied\n")


def test_what_cannot_be_served_is_refused_with_the_reason_and_changes_nothing(site: Site) -> None:
    elsewhere = site.deployment("elsewhere", FIRST, model="unknown@0123456789ab")
    two = [site.deployment("again", FIRST), site.deployment("second", SECOND)]
    with site.edge() as edge, site.device() as device:
        for node in ("edge-1", "cam-1"):
            status, said = site.want(node, elsewhere)
            assert status == 65
            assert "unknown@0123456789ab" in said
        status, said = site.want("cam-1", *two)
        assert status == 65
        assert "one deployment" in said
        states = site.states()
        assert [state["state"] for state in states.values()] == ["refused", "refused"]
        assert all(state["reported"]["models"] == [site.model] for state in states.values())
        assert edge.facts()["models"] == [site.model]
        results = site.folder / "results.jsonl"
        with streaming_other(site, results) as other:
            assert other.wait(60) == 0
        assert device.probe("/readyz")[0] == 200
    assert {record.plan for record in read_records(results)} == {"first"}


def streaming_other(site: Site, results: Path) -> Any:
    arguments = ["--source", str(site.folder / "photos"), "--results", str(results), "--no-fallback"]
    return tier_process(
        [
            *("device", "run", "--store", str(site.store.root), "--node", "cam-2"),
            *("--deployment", str(site.folder / "first.yaml"), "--state", str(site.folder / "other-state")),
            *("--broker-url", site.broker_url, *arguments),
        ],
        site.folder,
        ready_within_s=None,
    )


def test_frames_by_the_deployment_before_are_served_until_their_devices_have_heard(site: Site) -> None:
    """Also after a restart of the edge, and where a name now stands for another cut."""
    second = site.deployment("second", SECOND, Plan(id="first", device_until=0, edge_until=2))
    with site.edge():
        assert site.want("edge-1", second)[0] == 0
    with site.edge():
        results = site.folder / "results.jsonl"
        with streaming_other(site, results) as other:
            assert other.wait(60) == 0
    assert {record.route for record in read_records(results)} == {"device 0→1 · edge 1→2"}


def test_garbage_on_a_nodes_topics_harms_nobody_and_is_named(site: Site) -> None:
    with ExitStack() as stack:
        edge = stack.enter_context(site.edge())
        garbage = b"\xff garbage \x1b[2J"
        publish(site, "tercet/v1/default/edge-1/desired", garbage)
        publish(site, "tercet/v1/default/cam-9/reported", garbage)
        until(lambda: "desired state not understood" in edge.stderr(), edge)
        status, output = site.tercet("list")
        assert status == 65
        assert output.count("passed over") == 2
        assert "\x1b[2J" not in output
        assert edge.probe("/readyz")[0] == 200
        assert site.want("edge-1", site.deployment("second", SECOND))[0] == 0
        status, output = site.tercet("show", "edge-1")
        assert status == 0
        assert "applied" in output


def test_a_node_that_is_not_there_is_waited_for_and_a_stranger_is_unknown(site: Site) -> None:
    with site.edge():
        status, said = site.want("cam-7", site.folder / "first.yaml", wait_s=1)
        assert status == 75
        assert "has not reported version 1" in said
        assert site.states()["cam-7"]["state"] == "silent"
        assert site.tercet("show", "cam-8")[0] == 66
        assert site.tercet("set", "Cam 8", "--deployment", str(site.folder / "first.yaml"))[0] != 0


def publish(site: Site, topic: str, payload: bytes) -> None:
    import asyncio

    from tercet.identifiers import NodeId
    from tercet.links.broker_url import BrokerUrl
    from tercet.links.mqtt import new_client

    async def work() -> None:
        async with new_client(
            BrokerUrl.parse(site.broker_url), NodeId("rogue"), "default", is_node=False
        ) as client:
            await client.publish(topic, payload, qos=1, retain=True)

    asyncio.run(work())
