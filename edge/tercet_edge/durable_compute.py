"""Computes the edge's part of durable frames: together with like frames, after realtime ones, and so that a frame
that cannot be computed harms no other.

Tries are counted before they are made: if a frame kills the process, the next process knows which frames were being
computed then, and computes those one at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from tercet.codecs import parse_spec
from tercet.codecs.codec import Array
from tercet.cut_model import CutModel, find_model
from tercet.durable.hand_over import Outgoing
from tercet.durable.journal import Entry, Journal
from tercet.errors import ContractError, TercetError, UnavailableError
from tercet.identifiers import ModelRef
from tercet.plans import Plan
from tercet.printable import printable
from tercet.tiers import Tier
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import MAX_MESSAGE_CHARS, Frame
from tercet_edge.edge_frame import run_key
from tercet_edge.micro_batch import MicroBatcher

log = logging.getLogger(__name__)

_WAIT_S = 0.1


@dataclass(frozen=True)
class _Job:
    """A frame that this edge has something to compute of, or to code anew."""

    entry: Entry
    frame: Frame
    model: CutModel
    plan: Plan


class DurableCompute:
    """Of one edge. For one event loop; one `advance` at a time.

    Args:
        batcher: computes, realtime frames first.
        max_queued: durable frames that wait in the batcher at once; the rest of its queue is for realtime ones.
    """

    def __init__(
        self,
        models: Mapping[ModelRef, CutModel],
        batcher: MicroBatcher,
        journal: Journal,
        *,
        max_queued: int,
    ) -> None:
        self._models = models
        self._batcher = batcher
        self._journal = journal
        self._places = asyncio.Semaphore(max_queued)
        self._suspects = set(journal.suspects)

    async def advance(self, entries: Sequence[Entry]) -> list[Outgoing]:
        """The frames as they go on, in order; those that failed too often are among the dead letters then."""
        ready: list[Outgoing] = []
        for stretch in stretches(entries, self._suspects):
            ready += await self._advance(stretch)
        return ready

    async def _advance(self, entries: Sequence[Entry]) -> list[Outgoing]:
        left = list(entries)
        done: dict[int, Outgoing] = {}
        while left:
            outcomes = await self._compute_all([_open(entry, self._models) for entry in left])
            failed: list[Entry] = []
            for entry, outcome in zip(left, outcomes, strict=True):
                if isinstance(outcome, Outgoing):
                    done[entry.position] = outcome
                elif not await self._journal.failed(entry.position, outcome):
                    failed.append(entry)
            left = failed
        return [done[entry.position] for entry in entries if entry.position in done]

    async def _compute_all(self, opened: Sequence[_Job | Outgoing | TercetError]) -> list[Outgoing | TercetError]:
        jobs = [one for one in opened if isinstance(one, _Job)]
        if not jobs:
            return [one for one in opened if not isinstance(one, _Job)]
        positions = [job.entry.position for job in jobs]
        await self._journal.began(positions)
        try:
            computed = iter(await asyncio.gather(*map(self._compute, jobs)))
        finally:
            # Also if we are cancelled: that is not the frames' doing.
            await self._journal.ended(positions)
        self._suspects.difference_update(positions)
        return [next(computed) if isinstance(one, _Job) else one for one in opened]

    async def _compute(self, job: _Job) -> Outgoing | TercetError:
        """The frame as it goes on, or what is wrong with it."""
        while True:
            try:
                async with self._places:
                    return await self._forwarded(job)
            except UnavailableError as error:
                await asyncio.sleep(error.retry_after_s or _WAIT_S)
            except TercetError as error:
                return error
            except Exception as error:
                text = printable(f"{type(error).__name__}: {error}", MAX_MESSAGE_CHARS)
                return ContractError(f"its segment failed: {text}")

    async def _forwarded(self, job: _Job) -> Outgoing:
        frame, model, plan = job.frame, job.model, job.plan

        def decode() -> Mapping[str, Array]:
            with model.pace.slowed():
                return frame.decode(model.codecs)

        computed = await self._batcher.compute(
            model.chain,
            plan.device_until,
            plan.edge_until,
            decode,
            key=run_key(frame.header, model, plan.device_until, plan.edge_until),
            deadline_s=inf,
            durable=True,
        )
        header = pb.FrameHeader()
        header.CopyFrom(frame.header)
        header.boundary = plan.edge_until
        # Outputs cross as they are, as in answers.
        last = plan.edge_until == model.last_boundary
        codec = "raw" if last else str(parse_spec(plan.codecs.edge_cloud).stateless)
        with model.pace.slowed():
            return Outgoing(job.entry, Frame.encode(header, computed.outputs, codec, model.codecs).seal())


def stretches(entries: Sequence[Entry], suspects: Collection[int]) -> list[list[Entry]]:
    """Entries that may be computed together, in order; one whose position is suspect is alone."""
    found: list[list[Entry]] = []
    alone = True
    for entry in entries:
        suspect = entry.position in suspects
        if alone or suspect:
            found.append([])
        found[-1].append(entry)
        alone = suspect
    return found


def _open(entry: Entry, models: Mapping[ModelRef, CutModel]) -> _Job | Outgoing | TercetError:
    """What there is to compute; the frame as it came if there is nothing; or what is wrong with it."""
    try:
        frame = Frame.open(entry.sealed)
        model = find_model(models, frame.header.model, Tier.EDGE)
        plan = model.plan_for(frame.header, Tier.EDGE)
    except TercetError as error:
        return error
    if frame.header.boundary == model.last_boundary or plan.passes_edge:
        return Outgoing(entry, entry.sealed)
    return _Job(entry, frame, model, plan)
