"""Nodes that measure themselves before they serve, and what an operator collects of it, over a real broker."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from support.brokers import fresh_embedded
from support.fleets import FLEET, running_device
from support.processes import free_port, tier_process
from support.profiles import made_up_profile
from support.tiny_model import tiny_card, tiny_deployment
from tercet.cli.profiles_command import profiles as profiles_command
from tercet.documents import read_document, write_document
from tercet.errors import LinkDownError, NotFoundError, SettingsError
from tercet.identifiers import NodeId
from tercet.links.broker_url import BrokerUrl
from tercet.links.mqtt import new_client, stay_connected
from tercet.links.profile_reports import Collection, collect_profiles, retained_report
from tercet.models.store import Store
from tercet.plans import Deployment
from tercet.profile import Profile
from tercet.tiers import Tier


@pytest.fixture
async def broker() -> AsyncIterator[BrokerUrl]:
    async with fresh_embedded() as url:
        yield url


@pytest.fixture
def deployment(tmp_path: Path) -> tuple[Store, Deployment, list[str]]:
    store = Store(tmp_path / "store")
    deployed = tiny_deployment(store)
    tiny_card(store)
    write_document(deployed, tmp_path / "deployment.yaml")
    return store, deployed, ["--store", str(store.root), "--deployment", str(tmp_path / "deployment.yaml")]


async def collect(broker: BrokerUrl, fleet: str = FLEET) -> Collection:
    return await collect_profiles(broker, fleet, quiet_s=0.5, timeout_s=10)


async def publish(broker: BrokerUrl, topic: str, payload: bytes) -> None:
    async with new_client(broker, NodeId("intruder"), FLEET, is_node=False) as client:
        await client.publish(topic, payload, qos=1, retain=True)


def test_device_and_edge_measure_themselves_and_are_collected(
    deployment: tuple[Store, Deployment, list[str]], tmp_path: Path
) -> None:
    port = free_port()
    url = f"mqtt://127.0.0.1:{port}"
    quick = ["--profile", "--profile-s", "0.2", "--fleet", "home"]
    edge_arguments = ["edge", "run", *deployment[2], *quick, "--mqtt-port", str(port), "--cloud-address", "none"]
    device_arguments = ["device", "run", *deployment[2], *quick, "--node", "cam-1", "--broker-url", url]
    out = tmp_path / "profiles"
    with (
        tier_process(edge_arguments, tmp_path) as edge,
        tier_process([*device_arguments, "--emulated-slowdown", "20"], tmp_path),
    ):
        done = CliRunner().invoke(
            profiles_command,
            ["--broker-url", url, "--fleet", "home", "--out", str(out), "--wait-s", "1"],
            catch_exceptions=False,
        )
        assert edge.probe("/readyz")[0] == 200
        edge.signal(signal.SIGTERM)
        assert edge.wait() == 0
    assert done.exit_code == 0
    assert "20× slower" in done.stdout
    ref = deployment[1].model
    camera = read_document(Profile, out / "cam-1" / f"{ref}.yaml")
    gateway = read_document(Profile, out / "edge-1" / f"{ref}.yaml")
    assert (camera.tier, camera.slowdown, camera.cut) == (Tier.DEVICE, 20, ref)
    assert (gateway.tier, gateway.slowdown, len(gateway.segments)) == (Tier.EDGE, 1, 3)


def test_a_node_that_is_stopped_while_it_measures_ends_at_once(
    deployment: tuple[Store, Deployment, list[str]], tmp_path: Path
) -> None:
    arguments = [
        *("edge", "run", *deployment[2], "--mqtt-port", "0", "--cloud-address", "none"),
        *("--profile", "--profile-s", "3600"),
    ]
    with tier_process(arguments, tmp_path, ready_within_s=None) as edge:
        while "measuring before serving" not in edge.stderr():
            assert edge.process.poll() is None
        assert edge.probe("/livez")[0] == 200
        assert edge.probe("/readyz")[0] == 503
        edge.signal(signal.SIGTERM)
        assert edge.wait() == 0


def test_a_node_without_all_segments_says_so_instead_of_serving(
    deployment: tuple[Store, Deployment, list[str]], tmp_path: Path
) -> None:
    store, deployed, arguments = deployment
    last = store.manifest(deployed.model).segments[-1].sha256
    store.segment_path(last).unlink()
    with tier_process(
        ["device", "run", *arguments, "--node", "cam-1", "--profile"], tmp_path, ready_within_s=None
    ) as device:
        assert device.wait() == 66
        assert last in device.stderr()


async def test_a_report_is_there_again_after_the_broker_forgot_it(tmp_path: Path) -> None:
    retained = retained_report(FLEET, NodeId("cam-1"), [made_up_profile()])
    port = free_port()
    from tercet_edge.embedded_broker import embedded_broker

    async def serve(client: object) -> None:
        await asyncio.Event().wait()

    for _ in range(2):
        async with embedded_broker("127.0.0.1", port) as broker:
            link = asyncio.create_task(stay_connected(broker, NodeId("cam-1"), FLEET, serve, retained=retained))
            await asyncio.sleep(0.5)
            assert (await collect(broker)).profiles == {"cam-1": (made_up_profile(),)}
            link.cancel()
            await asyncio.wait([link])


async def test_garbage_and_liars_are_named_and_left_out(broker: BrokerUrl, tmp_path: Path) -> None:
    report = retained_report(FLEET, NodeId("cam-1"), [made_up_profile()])
    await publish(broker, *next(iter(report.items())))
    await publish(broker, f"tercet/v1/{FLEET}/cam-2/profile", next(iter(report.values())))
    await publish(broker, f"tercet/v1/{FLEET}/cam-3/profile", b"\xff garbage \x1b[2J")
    await publish(broker, "tercet/v1/other/cam-4/profile", next(iter(report.values())))
    found = await collect(broker)
    assert list(found.profiles) == ["cam-1"]
    assert sorted(found.refused) == [f"tercet/v1/{FLEET}/cam-{number}/profile" for number in (2, 3)]
    arguments = ["--broker-url", str(broker), "--fleet", FLEET, "--out", str(tmp_path), "--wait-s", "0.5"]
    done = await asyncio.to_thread(
        CliRunner().invoke, profiles_command, arguments, catch_exceptions=False, standalone_mode=False
    )
    assert done.return_value == 65
    assert "refused" in done.stderr
    assert "\x1b[2J" not in done.output
    assert [path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*.yaml")] == ["cam-1"]


async def test_collecting_leaves_no_trace_of_a_node(broker: BrokerUrl, tmp_path: Path) -> None:
    store = Store(tmp_path)
    async with running_device(broker, tiny_deployment(store), store):
        await collect(broker)
        async with new_client(broker, NodeId("observer"), FLEET, is_node=False) as client:
            await client.subscribe(f"tercet/v1/{FLEET}/+/status")
            seen = set()
            try:
                async with asyncio.timeout(0.5):
                    async for message in client.messages:
                        seen.add(str(message.topic))
            except TimeoutError:
                pass
    assert seen == {f"tercet/v1/{FLEET}/cam-1/status"}


async def test_an_empty_fleet_is_said(broker: BrokerUrl) -> None:
    arguments = ["--broker-url", str(broker), "--wait-s", "0.2"]
    with pytest.raises(NotFoundError, match="--profile"):
        await asyncio.to_thread(CliRunner().invoke, profiles_command, arguments, catch_exceptions=False)


def test_no_broker_and_no_broker_url_are_said() -> None:
    for arguments, error in (
        (["--broker-url", f"mqtt://127.0.0.1:{free_port()}"], LinkDownError),
        (["--broker-url", "http://x"], SettingsError),
    ):
        with pytest.raises(error):
            CliRunner().invoke(profiles_command, arguments, catch_exceptions=False)
