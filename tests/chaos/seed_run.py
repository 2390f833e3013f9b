"""One seed of one scenario in a running world: its devices, their frames, and how these are drained."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chaos.evidence import (
    DeviceLines,
    Holder,
    count_stored,
    device_lines,
    expired_frames,
    journal_state,
    store_tallies,
    stored_results,
)
from chaos.ledger import Books, FrameKey, History, settle
from chaos.outcome import Outcome
from chaos.part import Part, Stuck
from chaos.seed import POLL_S, Seed
from chaos.service_gap import RealtimeFrame
from chaos.world import GOOD, LINKS, LIVE, World

if TYPE_CHECKING:
    from chaos.scenario import Plan, Scenario

FLOWING_S = 60.0
LIVE_WINDOW = 4
LIVE_DEADLINE_MS = 2000
# Realtime frames must be as planned for so long before a seed is over.
CALM_S = 1.0
CALM_WITHIN_S = 60.0


class SeedRun(Seed):
    """Durable frames of devices that are new for this seed, and realtime ones beside them."""

    scenario: Scenario

    def __init__(self, world: World, scenario: Scenario, seed: int, plan: Plan, tag: str) -> None:
        super().__init__(scenario, seed, plan)
        self.world = world
        load = scenario.load
        self.nodes = tuple(f"cam-{tag}-{number}" for number in range(1, load.devices + 1))
        self.cameras: dict[str, Part] = {}
        self.photos = scenario.photos(self)
        self._edges_before = [journal_state(self.journal_file(edge.name)) for edge in world.edges]
        self._tallies_before = store_tallies(self.store_file)

    # What scenarios use.

    def acknowledged(self) -> int:
        """Durable frames that the applications were told are safe."""
        return sum(len(lines.acknowledged) for lines in self.lines().values())

    async def until_recorded(self, more_than: int, timeout_s: float) -> None:
        """Return once the applications were told of more frames than so many."""
        await self.until(lambda: self.acknowledged() > more_than, timeout_s, "a device recorded frames again")

    async def until_status(self, part: Part, status: int, timeout_s: float) -> None:
        """Return once a part's /readyz answers with a status; Stuck if it does not."""
        deadline_s = time.monotonic() + timeout_s
        while (await part.report())[0] != status:
            if time.monotonic() > deadline_s:
                raise Stuck(f"{part.name} did not answer {status} within {timeout_s:.1f} s")
            await asyncio.sleep(POLL_S)

    @property
    def camera(self) -> Part:
        return self.cameras[self.nodes[0]]

    @property
    def store_file(self) -> Path:
        return self.world.state("cloud") / "results.db"

    def outbox_file(self, node: str) -> Path:
        return self.world.state(node) / "outbox.db"

    def journal_file(self, edge: str) -> Path:
        return self.world.state(edge) / "journal.db"

    # What the runner does.

    async def start(self) -> None:
        """Start the devices; returns when results of the first of them are being stored."""
        load = self.scenario.load
        await self.start_live()
        for node in self.nodes:
            self.cameras[node] = self.world.device(node, self.camera_arguments(load.frames))
        await self.flowing()

    async def start_live(self) -> None:
        """The world's realtime device, unless it runs already or the scenario has none."""
        hz = self.scenario.realtime_hz
        if hz and LIVE not in self.world.devices:
            live = self.world.device(
                LIVE,
                [
                    *("--source", str(self.world.photos), "--frames", "1000000000", "--rate-hz", str(hz)),
                    *("--plan", "split", "--window", str(LIVE_WINDOW), "--deadline-ms", str(LIVE_DEADLINE_MS)),
                ],
            )
            await live.wait_ready(FLOWING_S)

    def camera_arguments(self, frames: int) -> list[str]:
        load = self.scenario.load
        return [
            *("--delivery", "durable", "--until-delivered", "--source", str(self.photos)),
            *("--frames", str(frames), "--rate-hz", str(load.hz), "--plan", load.plan, *load.options),
            *self.scenario.camera_options(self),
        ]

    async def flowing(self) -> None:
        """Return once results of the first device are being stored."""
        deadline_s = time.monotonic() + FLOWING_S
        while count_stored(self.store_file, self.nodes[:1]) < 1:
            if time.monotonic() > deadline_s:
                raise Stuck(f"no result was stored within {FLOWING_S:g} s of the start")
            await asyncio.sleep(POLL_S)

    async def heal(self) -> None:
        for link in LINKS:
            await self.world.bend(link, GOOD)

    async def drain(self) -> float:
        """Return when every frame is stored or given up with notice; Stuck if that takes too long."""
        deadline_s = time.monotonic() + self.scenario.drain_s
        for node, camera in self.cameras.items():
            status = await camera.wait_exit(max(0.1, deadline_s - time.monotonic()))
            if status:
                raise Stuck(f"{node} ended with status {status}: {camera.last_words()}")
        while missing := self._missing():
            if time.monotonic() > deadline_s:
                raise Stuck(
                    f"{missing} frames were not stored {self.scenario.drain_s:g} s after the faults; "
                    f"{self._where_held()}"
                )
            await asyncio.sleep(POLL_S)
        return time.monotonic()

    async def calm(self) -> None:
        """Return once realtime frames are answered as planned again; Stuck if they are not."""
        if not self.scenario.realtime_hz:
            return
        deadline_s = time.monotonic() + CALM_WITHIN_S
        calm_from_s = time.monotonic()
        while time.monotonic() - calm_from_s < CALM_S or not self.realtime(calm_from_s):
            bad = [frame for frame in self.realtime(calm_from_s) if not frame.as_planned]
            if bad:
                calm_from_s = max(frame.ended_s for frame in bad)
            if time.monotonic() > deadline_s:
                said = bad[-1].reason if bad else "no frame came"
                raise Stuck(f"realtime frames were not as planned {CALM_WITHIN_S:g} s after the faults: {said}")
            await asyncio.sleep(POLL_S)

    def realtime(self, from_s: float | None = None) -> list[RealtimeFrame]:
        return self.world.live.since(self.began_s if from_s is None else from_s)

    def lines(self) -> Mapping[str, DeviceLines]:
        return {node: device_lines(self.world.results(node)) for node in self.nodes}

    def books(self) -> Books:
        """The books as they stand."""
        lines = self.lines().values()
        stored = stored_results(self.store_file, self.nodes, self.world.album)
        dead, expired_count = self._given_up()
        return settle(
            History(
                offered=sum(each.offered for each in lines),
                acknowledged=[entry for each in lines for entry in each.acknowledged],
                refused=sum(each.refused for each in lines),
                stored=stored,
                dead=dead,
                expired=self._expired(),
                expired_count=expired_count,
                saved_most=self.scenario.saved_most,
                unheard_most=self.scenario.unheard_most,
                late_allowed=self.scenario.late_allowed,
            )
        )

    def outcome(self, *, stuck: Sequence[str], drained_at_s: float | None) -> Outcome:
        self.facts["repeats"] = self.repeats()
        return super().outcome(stuck=stuck, drained_at_s=drained_at_s)

    def further(self) -> list[str]:
        """Holders whose counters do not add up."""
        files = {node: self.outbox_file(node) for node in self.nodes}
        files |= {edge.name: self.journal_file(edge.name) for edge in self.world.edges}
        return [f"{name}: {said}" for name, file in files.items() if (said := journal_state(file).unbalanced)]

    async def leave(self, *, broken: bool) -> None:
        for node in self.nodes:
            if part := self.world.devices.get(node):
                await part.stop()
            if not broken:
                self.world.forget(node)

    def _missing(self) -> int:
        """Frames that are nowhere yet, by their number."""
        acknowledged = sum(len(each.acknowledged) for each in self.lines().values())
        dead, expired = self._given_up()
        return max(0, acknowledged - count_stored(self.store_file, self.nodes) - len(dead) - expired)

    def _given_up(self) -> tuple[list[FrameKey], int]:
        """Dead letters of our devices, and how many frames expired, wherever they were."""
        outboxes = [journal_state(self.outbox_file(node)) for node in self.nodes]
        journals = [journal_state(self.journal_file(edge.name)) for edge in self.world.edges]
        dead = [key for holder in (*outboxes, *journals) for key in holder.dead if key.node in self.nodes]
        expired = sum(holder.counters.get("expired", 0) for holder in outboxes)
        return dead, expired + self._at_edges("expired", journals)

    def _expired(self) -> list[FrameKey]:
        """Frames of our devices that holders say they gave up, wherever they were."""
        logs = [part.log for part in (*self.cameras.values(), *self.world.edges)]
        return [key for log in logs for key in expired_frames(log) if key.node in self.nodes]

    def _at_edges(self, name: str, journals: Sequence[Holder]) -> int:
        """What edges counted in this seed."""
        return sum(
            now.counters.get(name, 0) - before.counters.get(name, 0)
            for now, before in zip(journals, self._edges_before, strict=True)
        )

    def repeats(self) -> int:
        """Frames that came to an edge or to the cloud again, in this seed."""
        journals = [journal_state(self.journal_file(edge.name)) for edge in self.world.edges]
        tallies = store_tallies(self.store_file)
        return self._at_edges("deduplicated", journals) + tallies.deduplicated - self._tallies_before.deduplicated

    def _where_held(self) -> str:
        held = {node: journal_state(self.outbox_file(node)).held for node in self.nodes}
        held |= {edge.name: journal_state(self.journal_file(edge.name)).held for edge in self.world.edges}
        return ", ".join(f"{name} holds {count}" for name, count in held.items())
