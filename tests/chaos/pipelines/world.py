"""Where pipelines run: a Ray cluster that serves many seeds, or only a place for commands with a Ray of their own.

Everything is a real process: `ray start`, and `tercet pipeline …` for every run. Whatever works in the cluster's
folder or has this world's mark is gone when it is left, however that happens.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import psutil

from chaos.part import MARKER, POLL_S, Part, Stuck, accepts, free_port, sweep, titled
from chaos.pipelines.photo_branch import photo_file, put_network
from chaos.pipelines.shape import Shape
from tercet_cloud.serving.orphan_guard import MARKER as RAY_MARKER
from tercet_cloud.serving.orphan_guard import OrphanGuard

TESTS = Path(__file__).parents[2]
WORKERS = 2
CLUSTER_READY_S = 60.0
_STARTED = "Ray runtime started"
# How processes of a scheduler call themselves.
SCHEDULER, KEEPER, WORKER = "ray::SchedulerActor", "ray::RunKeeper", "ray::StepWorker"


class PipelineWorld:
    """Use as an async context manager.

    Args:
        cluster: whether runs share a Ray that outlives their commands; else every command starts its own.
    """

    def __init__(self, folder: Path, *, cluster: bool) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.state = folder / "state"
        self.commands: dict[str, Part] = {}
        self._mark = f"chaos-{secrets.token_hex(6)}"
        self._stack = AsyncExitStack()
        self._has_cluster = cluster
        self._environment = {MARKER: self._mark}
        if cluster:
            # On the loopback, and with a token of its own: Ray's default is one for all of a user's clusters.
            self._environment |= {
                "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN": secrets.token_hex(32),
            }
        self._cluster: Part | None = None
        self._port = free_port()

    async def __aenter__(self) -> PipelineWorld:
        try:
            await asyncio.to_thread(put_network, self.store)
            if self._has_cluster:
                self._start_cluster(self._stack.enter_context(OrphanGuard()).folder)
                await self.settled()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def settled(self, timeout_s: float = CLUSTER_READY_S) -> None:
        """Return once the cluster takes runs, if there is one."""
        if self._cluster is None:
            return
        deadline_s = time.monotonic() + timeout_s
        while not (_STARTED in self._cluster.log.read_text() and await accepts(self._port)):
            if not self._cluster.running or time.monotonic() > deadline_s:
                raise Stuck(f"the Ray cluster is not up: {self._cluster.last_words()}")
            await asyncio.sleep(POLL_S)

    def begin(self, run: str, shape: Shape) -> Part:
        """`tercet pipeline run`; on a cluster it only begins the run."""
        file = shape.write(self.folder / "pipelines" / f"{run}.yaml")
        photo = photo_file(shape.photo.photo, self.folder / "photos")
        return self._command(
            run,
            [
                *("run", str(file), "--name", run, "--input", f"photo=@{photo}"),
                *("--input", f"trace={self.trace(run)}", *(["--detach"] if self._has_cluster else [])),
            ],
        )

    def retry(self, run: str) -> Part:
        """`tercet pipeline retry`."""
        return self._command(f"{run}-retry", ["retry", run])

    def trace(self, run: str) -> Path:
        """The file that the run's steps append to."""
        return self.folder / "traces" / run

    def processes(self, title: str) -> list[int]:
        """Ids of the cluster's processes with this title, sorted."""
        return sorted(titled(title, self._cluster.tree() if self._cluster else []))

    def _command(self, name: str, arguments: Sequence[str]) -> Part:
        self.trace(name).parent.mkdir(parents=True, exist_ok=True)
        address = ("--ray-address", f"127.0.0.1:{self._port}") if self._has_cluster else ()
        part = Part(
            name,
            [
                *(sys.executable, "-m", "tercet.cli", "pipeline", *arguments, *address),
                *("--state", str(self.state), "--store", str(self.store), "--workers", str(WORKERS)),
                *("--import-path", str(TESTS), "--json"),
            ],
            self.folder / "logs" / f"{name}.log",
            environment=self._environment,
        )
        part.start()
        self.commands[name] = part
        return part

    def _start_cluster(self, scratch: Path) -> None:
        self._cluster = Part(
            "ray",
            [
                *(
                    sys.executable,
                    "-m",
                    "ray.scripts.scripts",
                    "start",
                    "--head",
                    "--block",
                    "--temp-dir",
                    str(scratch),
                ),
                *("--node-ip-address", "127.0.0.1", "--port", str(self._port), "--num-cpus", str(WORKERS)),
                *("--object-store-memory", str(256 << 20), "--include-dashboard=false", "--disable-usage-stats"),
            ],
            self.folder / "logs" / "ray.log",
            # By it the guard knows who belongs to this Ray.
            environment={**self._environment, RAY_MARKER: str(scratch)},
        )
        self._cluster.start()

    async def _end(self) -> None:
        try:
            for part in self.commands.values():
                with suppress(Stuck, psutil.Error):
                    await part.stop()
            if self._cluster is not None:
                # `ray start --block` takes no SIGTERM while its children live.
                self._cluster.kill()
        finally:
            sweep(self._mark)
            await self._stack.aclose()
