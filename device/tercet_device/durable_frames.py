"""A device's durable frames: coded, acknowledged once they are on this device's disk, and sent in the background.

They are coded as their plan says, but for `delta`: each must be readable by itself, whichever came before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager

from tercet.back_off import BackOff
from tercet.codecs import parse_spec
from tercet.codecs.codec import Array
from tercet.cut_model import CutModel
from tercet.durable.keeping import Keeping, keeping
from tercet.errors import OverloadedError
from tercet.identifiers import NodeId
from tercet.plans import Plan
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Frame
from tercet_device.edge_link import EdgeLink
from tercet_device.outbox_sender import OutboxSender
from tercet_device.settings import DeviceSettings

log = logging.getLogger(__name__)

OUTBOX_FILE = "outbox.db"
_WAIT_FIRST_S, _WAIT_MOST_S = 0.1, 5.0
_LOOK_EVERY_S = 0.05


class DurableFrames:
    """Of one agent.

    Args:
        kept: the device's outbox and clocks, open for as long as this is used.
    """

    def __init__(self, node: NodeId, fleet: str, kept: Keeping) -> None:
        self.kept = kept
        self.sender = OutboxSender(node, fleet, kept.journal, kept.clock)
        self._full = False

    async def record(
        self,
        header: pb.FrameHeader,
        inputs: Mapping[str, Array],
        plan: Plan,
        model: CutModel,
        compute: Executor,
        *,
        wait_for_room: bool,
    ) -> int:
        """Compute a plan's first part, code it, and put it into the outbox.

        Args:
            header: model, plan and node of the frame; the rest is filled in.
        Returns:
            its sequence number, once it is on the disk.
        Raises:
            OverloadedError: the outbox is full; says when to try again. Not if it is to be waited for.
            ContractError: the inputs are wrong.
        """
        captured = self.kept.clock.now()
        header.boundary = plan.device_until
        header.delivery = pb.DELIVERY_CLASS_DURABLE
        loop = asyncio.get_running_loop()
        frame = await loop.run_in_executor(compute, _compute, header, inputs, plan, model)

        def seal(sequence: int) -> bytes:
            frame.header.sequence = sequence
            return frame.seal()

        waits = BackOff(_WAIT_FIRST_S, _WAIT_MOST_S)
        while True:
            try:
                sequence = await self.kept.journal.record(seal, captured)
            except OverloadedError as error:
                if not wait_for_room:
                    raise
                self._note_full(error)
                await asyncio.sleep(waits.wait_s(error.retry_after_s))
            else:
                self._note_full(None)
                return sequence

    def _note_full(self, error: OverloadedError | None) -> None:
        if error is not None and not self._full:
            log.warning("frames wait for room in the outbox", extra={"reason": str(error)})
        elif error is None and self._full:
            log.info("the outbox has room again")
        self._full = error is not None

    @asynccontextmanager
    async def sending(self, links: Sequence[EdgeLink]) -> AsyncIterator[None]:
        """Send while entered; the links must not be connected yet."""
        self.sender.listen(links)
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(self.sender.run(links))
            try:
                yield
            finally:
                sending.cancel()

    @property
    def undelivered(self) -> int:
        """Frames that no edge has yet."""
        return self.kept.journal.load().frames

    async def wait_delivered(self) -> None:
        """Return once an edge, or the dead letters, has every frame."""
        while self.undelivered:
            await asyncio.sleep(_LOOK_EVERY_S)

    def facts(self) -> dict[str, object]:
        """For health: what is held, and which edge takes it."""
        return {**self.kept.facts(), "keeper": self.sender.holder}

    def log_outcome(self) -> None:
        """Say what was delivered, and how much is left here."""
        log.info("outbox", extra=self.kept.journal.counters().as_dict())
        if self.undelivered:
            log.warning("frames are left in the outbox", extra={"frames": self.undelivered})


@asynccontextmanager
async def open_outbox(settings: DeviceSettings) -> AsyncIterator[DurableFrames | None]:
    """The outbox of a device that records frames, or that has one from before; None for one that never did.

    Raises what `keeping` does.
    """
    folder = settings.state_folder(settings.node)
    if settings.delivery == "realtime" and not (folder / OUTBOX_FILE).exists():
        yield None
        return
    async with keeping(settings, folder, OUTBOX_FILE) as kept:
        yield DurableFrames(settings.node, settings.fleet, kept)


def _compute(header: pb.FrameHeader, inputs: Mapping[str, Array], plan: Plan, model: CutModel) -> Frame:
    tensors = model.chain.run(inputs, 0, plan.device_until) if plan.device_until else inputs
    # Outputs cross as they are, as in answers.
    last = plan.device_until == model.last_boundary
    codec = "raw" if last else str(parse_spec(plan.codecs.device_edge).stateless)
    with model.pace.slowed():
        return Frame.encode(header, tensors, codec, model.codecs)
