"""A node's shadow without a broker: what is kept and used after a restart; what kills is not tried for ever."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tercet.errors import NotFoundError
from tercet.identifiers import ModelRef, NodeId
from tercet.plans import Deployment, Plan
from tercet.shadows.documents import Desired, seal_shadow
from tercet.shadows.keeping import ShadowFolder
from tercet.shadows.node_shadow import NodeShadow
from tercet.tiers import Tier

FLAGS = "flags@0123456789ab"


def deployment(model: str) -> Deployment:
    return Deployment(model=ModelRef(model), plans=(Plan(id="raw", device_until=1, edge_until=2),))


def desired(version: int, *models: str) -> Desired:
    return Desired(version=version, deployments=tuple(deployment(model) for model in models))


class Node:
    """Serves any model but those named "missing…"; "crash…" makes the engine fail in its own way."""

    def __init__(self, folder: Path) -> None:
        self.shadow = NodeShadow(Tier.EDGE, NodeId("edge-1"), "test", folder)
        self.former: tuple[str, ...] = ()
        self.served = self.shadow.open_first(lambda: [deployment(FLAGS)], self.open)

    def open(self, deployments: Sequence[Deployment], former: Sequence[Deployment]) -> list[str]:
        for one in deployments:
            if one.model.startswith("missing"):
                raise NotFoundError(f"{one.model} is not in the store")
            if one.model.startswith("crash"):
                raise RuntimeError("Load model failed: protobuf parsing failed")
        self.former = tuple(one.model for one in former)
        return [one.model for one in deployments]

    async def take(self, payload: bytes, *, within_s: float = 0.6) -> bool:
        """Whether what is published is served then."""
        self.shadow._on_desired(payload)
        try:
            async with asyncio.timeout(within_s):
                self.served = await self.shadow.next_opened(self.open)
        except TimeoutError:
            return False
        return True

    @property
    def report(self) -> tuple[int, str, int]:
        report = self.shadow._report
        return report.version, report.status, report.running


async def test_without_a_desired_state_the_command_line_counts(tmp_path: Path) -> None:
    node = Node(tmp_path / "state")
    assert node.served == [FLAGS]
    assert node.report == (0, "applied", 0)
    # Nothing is written where nothing was wanted.
    assert not (tmp_path / "state").exists()


async def test_what_was_taken_is_served_after_a_restart_instead_of_the_command_line(tmp_path: Path) -> None:
    assert await Node(tmp_path).take(seal_shadow(desired(3, "one@0123456789ab")))
    node = Node(tmp_path)
    assert node.served == ["one@0123456789ab"]
    assert node.report == (3, "applied", 3)
    # What was served before is known, for frames by it that are on their way.
    assert node.former == (FLAGS,)
    assert not await node.take(seal_shadow(desired(2, "two@0123456789ab")))
    assert not await node.take(seal_shadow(desired(3, "one@0123456789ab")))
    assert await node.take(seal_shadow(desired(4, "two@0123456789ab")))
    assert node.former == ("one@0123456789ab", FLAGS)


@pytest.mark.parametrize("bad", ["missing@0123456789ab", "crash@0123456789ab"])
async def test_a_refused_one_replaces_nothing_neither_now_nor_after_a_restart(tmp_path: Path, bad: str) -> None:
    node = Node(tmp_path)
    assert await node.take(seal_shadow(desired(3, "one@0123456789ab")))
    assert not await node.take(seal_shadow(desired(4, bad)))
    assert node.served == ["one@0123456789ab"]
    assert node.report == (4, "refused", 3)
    assert Node(tmp_path).served == ["one@0123456789ab"]
    assert await node.take(seal_shadow(desired(5, "two@0123456789ab")))
    assert node.report == (5, "applied", 5)


@pytest.mark.parametrize("payload", [b"garbage", b'{"version": 9}', b"[" * 10_000])
async def test_garbage_changes_nothing(tmp_path: Path, payload: bytes) -> None:
    node = Node(tmp_path)
    assert not await node.take(payload)
    assert node.report == (0, "applied", 0)
    assert await node.take(seal_shadow(desired(1, "one@0123456789ab")))


async def test_a_kept_state_that_cannot_be_served_any_more_gives_way_to_the_command_line(tmp_path: Path) -> None:
    assert await Node(tmp_path).take(seal_shadow(desired(3, "one@0123456789ab")))
    (tmp_path / "desired.json").write_bytes(b"damaged")
    node = Node(tmp_path)
    assert node.served == [FLAGS]
    assert await node.take(seal_shadow(desired(4, "two@0123456789ab")))


async def test_a_disk_that_takes_nothing_refuses(tmp_path: Path) -> None:
    blocked = tmp_path / "state"
    blocked.write_bytes(b"")
    node = Node(blocked / "inner")
    assert not await node.take(seal_shadow(desired(3, "one@0123456789ab")))
    assert node.report == (3, "refused", 0)


KILLED = """
import asyncio, os, sys
from pathlib import Path
from tercet.identifiers import NodeId
from tercet.shadows.node_shadow import NodeShadow
from tercet.tiers import Tier

def open_(deployments, former):
    if deployments:
        os.kill(os.getpid(), 9)

async def main():
    shadow = NodeShadow(Tier.EDGE, NodeId("edge-1"), "test", Path(sys.argv[1]))
    shadow.open_first(lambda: [], open_)
    shadow._on_desired(sys.stdin.buffer.read())
    try:
        async with asyncio.timeout(1.0):
            await shadow.next_opened(open_)
    except TimeoutError:
        print(shadow._report.reason)

asyncio.run(main())
"""


async def test_what_kills_the_node_when_it_is_tried_is_not_tried_for_ever(tmp_path: Path) -> None:
    payload = seal_shadow(desired(3, "deadly@0123456789ab"))

    def one_life() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path)],
            input=payload,
            capture_output=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    assert [one_life().returncode for _ in range(2)] == [-9, -9]
    survived = one_life()
    assert survived.returncode == 0
    assert b"died 2 times" in survived.stdout
    # Another one has its own lives.
    assert ShadowFolder(tmp_path).deaths(desired(4, "other@0123456789ab")) == 0
