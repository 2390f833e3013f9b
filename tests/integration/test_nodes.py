"""`tercet edge run` and `tercet device run` as real processes: start, drain, trouble, what they leave behind."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from support.processes import TERCET, alive, free_port, tier_process
from support.tiny_model import tiny_card, tiny_deployment
from tercet.documents import write_document
from tercet.error_codes import CODES
from tercet.errors import (
    DeadlineError,
    IntegrityError,
    NotFoundError,
    PortBusyError,
    SettingsError,
    SpecError,
    TercetError,
)
from tercet.frame_record import read_records
from tercet.models.store import Store
from tercet.plans import LinkCodecs, Plan
from tercet_cloud.models.slicing import slice_into_store

# The bound that the device agent promises with a segment loaded.
DEVICE_RSS_BYTES = 120 << 20
GONE_WITHIN_S = 15.0


@dataclass(frozen=True)
class Deployed:
    folder: Path
    store: Store
    arguments: tuple[str, ...]


@pytest.fixture
def tiny(tmp_path: Path) -> Deployed:
    store = Store(tmp_path / "store")
    write_document(tiny_deployment(store), tmp_path / "deployment.yaml")
    tiny_card(store)
    return Deployed(
        tmp_path,
        store,
        (
            *("--store", str(store.root), "--deployment", str(tmp_path / "deployment.yaml")),
            *("--state", str(tmp_path / "state")),
        ),
    )


@pytest.fixture(scope="module")
def lite0(model_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """EfficientNet-Lite0 with its first six blocks on the device, the rest on the edge, and three photos."""
    folder = tmp_path_factory.mktemp("lite0")
    manifest = slice_into_store(model_store, "efficientnet-lite0", [["block05"]])
    plan = Plan(id="int8", device_until=1, edge_until=2, codecs=LinkCodecs(device_edge="int8"))
    from tercet.plans import Deployment

    write_document(Deployment(model=manifest.ref, plans=(plan,)), folder / "deployment.yaml")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 300, 260, 3), np.uint8)
    (folder / "photos").mkdir()
    for number, photo in enumerate(pixels):
        Image.fromarray(photo).save(folder / "photos" / f"{number}.png")
    return Deployed(
        folder,
        model_store,
        ("--store", str(model_store.root), "--deployment", str(folder / "deployment.yaml")),
    )


def refused(*arguments: str) -> tuple[int, str]:
    """Exit status and the last line on stderr of a command that must fail before it serves."""
    outcome = subprocess.run([str(TERCET), *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in outcome.stderr
    return outcome.returncode, outcome.stderr.strip().splitlines()[-1]


def status_of(error: type[TercetError]) -> int:
    return CODES[error].exit_status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_edge_drains_and_leaves_no_process(tiny: Deployed, number: signal.Signals) -> None:
    arguments = ["edge", "run", *tiny.arguments, "--mqtt-port", "0", "--cloud-address", "none"]
    with tier_process(arguments, tiny.folder) as edge:
        tree = edge.tree()
        assert len(tree) > 1
        edge.signal(number)
        assert edge.wait() == 0
        assert alive(tree, within_s=GONE_WITHIN_S) == []


def test_a_killed_edge_takes_its_broker_with_it(tiny: Deployed) -> None:
    arguments = ["edge", "run", *tiny.arguments, "--mqtt-port", "0", "--cloud-address", "none"]
    with tier_process(arguments, tiny.folder) as edge:
        tree = edge.tree()
        edge.signal(signal.SIGKILL)
        edge.wait()
        assert alive(tree, within_s=GONE_WITHIN_S) == []


def test_an_edge_says_what_it_serves_and_where(tiny: Deployed) -> None:
    port = free_port()
    arguments = ["edge", "run", *tiny.arguments, "--mqtt-port", str(port), "--cloud-address", "none"]
    with tier_process(arguments, tiny.folder) as edge:
        facts = edge.facts()
        status, _ = edge.probe("/livez")
    assert status == 200
    assert facts["broker"] == f"mqtt://127.0.0.1:{port}"
    assert [model.split("@")[0] for model in facts["models"]] == ["tiny"]


def test_a_device_sends_its_photos_and_ends_by_itself(lite0: Deployed) -> None:
    port = free_port()
    results = lite0.folder / "results.jsonl"
    with tier_process(
        ["edge", "run", *lite0.arguments, "--mqtt-port", str(port), "--cloud-address", "none"], lite0.folder
    ):
        arguments = [
            *("device", "run", *lite0.arguments, "--node", "cam-1", "--broker-url", f"mqtt://127.0.0.1:{port}"),
            *("--source", str(lite0.folder / "photos"), "--frames", "7", "--results", str(results)),
        ]
        with tier_process(arguments, lite0.folder, ready_within_s=None) as device:
            assert device.wait() == 0
    records = list(read_records(results))
    assert len(records) == 7
    assert {record.route for record in records} == {"device 0→1 · edge 1→2"}
    assert all(record.label for record in records)


def test_a_device_with_a_real_segment_stays_within_its_memory(lite0: Deployed) -> None:
    port = free_port()
    with tier_process(
        ["edge", "run", *lite0.arguments, "--mqtt-port", str(port), "--cloud-address", "none"], lite0.folder
    ):
        arguments = [
            *("device", "run", *lite0.arguments, "--node", "cam-2", "--broker-url", f"mqtt://127.0.0.1:{port}"),
            *("--source", str(lite0.folder / "photos"), "--frames", "100000"),
        ]
        with tier_process(arguments, lite0.folder) as device:
            peak_bytes = max(psutil.Process(device.pid).memory_info().rss for _ in _for_a_while(device.pid))
            device.signal(signal.SIGTERM)
            assert device.wait() == 0
    assert peak_bytes <= DEVICE_RSS_BYTES


def _for_a_while(pid: int) -> list[int]:
    """Some moments of a working process: until it has used a second of processor time more."""
    process = psutil.Process(pid)
    start_s = process.cpu_times().user
    moments = []
    while process.cpu_times().user < start_s + 1:
        moments.append(len(moments))
    return moments


def test_a_frame_nobody_answers_is_counted_and_named(lite0: Deployed) -> None:
    results = lite0.folder / "lost.jsonl"
    arguments = [
        *("device", "run", *lite0.arguments, "--node", "cam-3", "--broker-url", f"mqtt://127.0.0.1:{free_port()}"),
        *("--source", str(lite0.folder / "photos" / "0.png"), "--no-fallback", "--deadline-ms", "300"),
        *("--results", str(results)),
    ]
    with tier_process(arguments, lite0.folder, ready_within_s=None) as device:
        assert device.wait() == status_of(DeadlineError)
        assert "frame lost" in device.stderr()
    (record,) = read_records(results)
    assert record.error_kind == "DeadlineError"


def test_a_busy_broker_port_is_named_with_the_way_out(tiny: Deployed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, line = refused("edge", "run", *tiny.arguments, "--mqtt-port", str(port), "--cloud-address", "none")
    assert status == status_of(PortBusyError)
    assert f":{port}" in line
    assert "--mqtt-port" in line


def test_a_busy_health_port_is_named_with_the_way_out(tiny: Deployed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, line = refused("edge", "run", *tiny.arguments, "--mqtt-port", "0", "--health-port", port)
    assert status == status_of(PortBusyError)
    assert "--health-port" in line


def test_an_edge_starts_without_its_external_broker_and_is_ready_once_that_is_there(tiny: Deployed) -> None:
    port = free_port()
    url = f"mqtt://127.0.0.1:{port}"
    arguments = ["edge", "run", *tiny.arguments, "--broker-url", url, "--cloud-address", "none"]
    with tier_process(arguments, tiny.folder, ready_within_s=None) as edge:
        wait_for(lambda: "broker not reached" in edge.stderr())
        assert f"broker={url}" in edge.stderr()
        assert "tercet edge run" in edge.stderr()
        wait_for(lambda: edge.probe("/livez")[0] == 200)
        assert edge.probe("/readyz")[0] == 503
        other = ["edge", "run", *tiny.arguments, "--node", "edge-2", "--state", str(tiny.folder / "other")]
        with tier_process([*other, "--mqtt-port", str(port), "--cloud-address", "none"], tiny.folder):
            edge.wait_ready(30)


def wait_for(done: Callable[[], bool], within_s: float = 30) -> None:
    deadline_s = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_a_segment_whose_content_changed_never_runs(tiny: Deployed) -> None:
    for segment in (tiny.store.root / "segments").iterdir():
        segment.write_bytes(segment.read_bytes()[:-1] + b"\0")
    status, line = refused("edge", "run", *tiny.arguments, "--mqtt-port", "0")
    assert status == status_of(IntegrityError)
    assert "slice or fetch again" in line


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("plans: []", SpecError, "model: Field required"),
        ("model: [", SpecError, "not YAML"),
        (
            "model: tiny@000000000000\nplans: [{id: raw, device_until: 1, edge_until: 2}]",
            NotFoundError,
            "tiny@0000",
        ),
        ("model: M\nplans: [{id: raw, device_until: 2, edge_until: 1}]", SpecError, "must not exceed"),
        (
            "model: M\nplans: [{id: a, device_until: 1, edge_until: 2, codecs: {device_edge: gzip}}]",
            SpecError,
            "gzip",
        ),
        ("model: M\nplans: [{id: raw, device_until: 1, edge_until: 9}]", SpecError, "has boundaries 0 to 3"),
    ],
)
def test_a_bad_deployment_is_refused_with_its_place(
    tiny: Deployed, text: str, error: type[TercetError], says: str
) -> None:
    path = tiny.folder / "deployment.yaml"
    model = next(line for line in path.read_text().splitlines() if line.startswith("model:"))
    path.write_text(text.replace("model: M", model))
    status, line = refused("edge", "run", *tiny.arguments, "--mqtt-port", "0")
    assert status == status_of(error)
    assert says in line


def test_a_deployment_that_is_not_there_is_named(tiny: Deployed) -> None:
    status, line = refused("edge", "run", "--deployment", str(tiny.folder / "nowhere.yaml"))
    assert status == status_of(NotFoundError)
    assert "nowhere.yaml" in line


def test_an_unknown_setting_in_the_environment_is_refused(tiny: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERCET_EDGE_MQQT_PORT", "1")
    status, line = refused("edge", "run", *tiny.arguments)
    assert status == status_of(SettingsError)
    assert "TERCET_EDGE_MQQT_PORT" in line


@pytest.mark.parametrize("command", [("device", "run"), ("edge", "run"), ("cloud", "run"), ("infer",), ("demo",)])
def test_every_command_has_help(command: tuple[str, ...]) -> None:
    outcome = subprocess.run(
        [str(TERCET), *command, "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert outcome.stdout.startswith("Usage: tercet")
