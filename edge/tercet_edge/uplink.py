"""The edge's way into the cloud: which address a call goes to, and what happens when it fails there.

An address that fails is left alone for a while; a call that it lost is tried once at another, as long as such calls
are few. Frames share calls, see `call_batch`.

An address from which nothing has come for a while is probed, so that a cloud that went away without a word is known
to be away before a frame waits for it, and one that is back is known to be back without risking a frame.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from types import TracebackType

from tercet.adaptive.circuit_breaker import State
from tercet.adaptive.replica_choice import ReplicaChoice
from tercet.adaptive.retry_budget import RetryBudget
from tercet.errors import DeadlineError, LinkDownError, OverloadedError, TercetError
from tercet.v1 import delivery_pb2, inference_pb2
from tercet.wire.messages import Answer
from tercet_edge.call_batch import CallBatch
from tercet_edge.cloud_link import CloudLink
from tercet_edge.http2_ping import answers_ping

log = logging.getLogger(__name__)

# Silence after which an address is probed, how long the probe may take, and how long a ping where calls are under
# way: together less than five seconds.
PROBE_AFTER_S = 1.5
PROBE_TIMEOUT_S = 2.0
PING_TIMEOUT_S = 1.0
_LOOK_EVERY_S = 0.25
# A second try with less time than this left would only end in another failure.
_WORTHWHILE_S = 0.005


class Uplink:
    """Use as an async context manager. Safe for concurrent calls.

    Args:
        addresses: HOST:PORT of equal clouds.
        max_calls: calls under way to each of them.
        max_call_frames: frames of one call; 1: each in a call of its own, without bound.
    """

    def __init__(self, addresses: Sequence[str], *, max_calls: int = 4, max_call_frames: int = 16) -> None:
        self._links = {address: CloudLink(address) for address in addresses}
        self._routing = ReplicaChoice(list(addresses), probed=True)
        self._heard_s = dict.fromkeys(addresses, 0.0)
        self._retries = RetryBudget()
        self._batch = CallBatch(self._call, max_calls=max_calls * len(addresses), max_frames=max_call_frames)
        self._watches: list[asyncio.Task[None]] = []
        self.retried = 0

    @property
    def calls(self) -> int:
        """Calls made, second tries not counted."""
        return self._batch.calls

    def states(self) -> dict[str, State]:
        """Which addresses are left alone now."""
        return self._routing.states(time.monotonic())

    def in_use(self) -> dict[str, float]:
        """1 by address that frames may go to, 0 by one that is left alone."""
        return {address: float(state == "closed") for address, state in self.states().items()}

    @property
    def renewals(self) -> int:
        """Connections that were replaced because no answer came over them."""
        return sum(link.renewals for link in self._links.values())

    async def infer(self, sealed_frame: bytes, timeout_s: float) -> Answer:
        """The cloud's answer, refusals included.

        Raises:
            UnavailableError: no answer in time, no cloud, or one that is overloaded.
            ContractError: the cloud cannot read the request.
        If cancelled, frames that share its call go on.
        """
        return Answer.open(await self._batch.ask(sealed_frame, timeout_s))

    async def replan(self, request: inference_pb2.ReplanRequest, timeout_s: float) -> Answer:
        """Another plan table, or the cloud's refusal, from one of the clouds. Raises as `infer`."""
        address = self._routing.choose(time.monotonic())
        try:
            return await self._links[address].replan(request, timeout_s)
        finally:
            # Planning takes another time than answering frames: routing learns nothing from it.
            self._routing.abandoned(address)

    async def deliver(self, request: delivery_pb2.DeliverRequest, timeout_s: float) -> delivery_pb2.DeliverResponse:
        """Receipts for durable frames, from one of the clouds, which share a store. Raises as `infer`.

        If cancelled, or without an answer, the frames may have been stored; sent again, they are duplicates.
        """
        address = self._routing.choose(time.monotonic())
        began_s = time.monotonic()
        try:
            response = await self._links[address].deliver(request, timeout_s)
        except (LinkDownError, DeadlineError) as error:
            self._unanswered(address, error, began_s)
            raise
        except TercetError:
            self._routing.reached(address)
            raise
        except BaseException:
            self._routing.abandoned(address)
            raise
        self._routing.reached(address)
        return response

    async def _call(self, frames: Sequence[bytes], timeout_s: float) -> list[bytes]:
        until_s = time.monotonic() + timeout_s
        self._retries.called()
        first = self._routing.choose(time.monotonic())
        try:
            return await self._ask(first, frames, timeout_s)
        except LinkDownError:
            second = self._other(first)
            left_s = until_s - time.monotonic()
            if second is None:
                raise
            if left_s < _WORTHWHILE_S or not self._retries.take():
                self._routing.abandoned(second)
                raise
        self.retried += 1
        return await self._ask(second, frames, left_s)

    def _other(self, failed: str) -> str | None:
        """Another address, reserved for a call, if one is not left alone as well."""
        try:
            second = self._routing.choose(time.monotonic(), avoid=frozenset({failed}))
        except LinkDownError:
            return None
        if second == failed:
            self._routing.abandoned(second)
            return None
        return second

    async def _ask(self, address: str, frames: Sequence[bytes], timeout_s: float) -> list[bytes]:
        """A call to an address that routing has reserved; routing learns how it ended."""
        began_s = time.monotonic()
        try:
            answers = await self._links[address].ask(frames, timeout_s)
        except OverloadedError as error:
            # A quick refusal must not look like a quick answer, or it would attract what is refused next.
            self._answered(address, max(time.monotonic() - began_s, error.retry_after_s or 0.0))
            raise
        except (LinkDownError, DeadlineError) as error:
            self._unanswered(address, error, began_s)
            raise
        except TercetError:
            self._answered(address, time.monotonic() - began_s)
            raise
        except BaseException:
            self._routing.abandoned(address)
            raise
        self._answered(address, time.monotonic() - began_s)
        return answers

    def _unanswered(self, address: str, error: LinkDownError | DeadlineError, began_s: float) -> None:
        if isinstance(error, DeadlineError) and self._heard_s[address] > began_s:
            # It answered others meanwhile: the deadline was too near, nothing is broken.
            self._routing.abandoned(address)
        else:
            self._routing.failed(address, time.monotonic())

    def _answered(self, address: str, took_s: float) -> None:
        self._heard_s[address] = time.monotonic()
        self._routing.answered(address, took_s * 1000)

    async def _watch(self, address: str) -> None:
        """Probe an address while nothing else tells how it does."""
        link = self._links[address]
        while True:
            await asyncio.sleep(_LOOK_EVERY_S * random.uniform(0.5, 1.0))
            now_s = time.monotonic()
            closed = self.states()[address] == "closed"
            if now_s - link.heard_s >= PROBE_AFTER_S if closed else self._routing.probe_due(address, now_s):
                await self._probe(address, link)

    async def _probe(self, address: str, link: CloudLink) -> None:
        began_s = time.monotonic()
        reason = await _silence_of(link)
        closed = self.states()[address] == "closed"
        if reason is None or link.heard_s >= began_s:
            if not closed:
                log.info("cloud answers again", extra={"cloud": address})
            self._routing.revived(address)
        elif closed and link.under_way and await answers_ping(address, PING_TIMEOUT_S):
            # It is busy with what waits for it, which has deadlines of its own.
            return
        else:
            if closed:
                log.warning("cloud does not answer", extra={"cloud": address, "reason": str(reason)})
            self._routing.gone(address, time.monotonic())

    async def __aenter__(self) -> Uplink:
        self._watches = [asyncio.create_task(self._watch(address)) for address in self._links]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        await self._batch.aclose()
        for link in self._links.values():
            await link.aclose()


async def _silence_of(link: CloudLink) -> TercetError | None:
    """Why an address gave no answer to a probe; None if it gave one. Later calls are made on a fresh connection."""
    try:
        await link.probe(PROBE_TIMEOUT_S)
    except LinkDownError as error:
        return error
    except DeadlineError as error:
        await link.renew()
        return error
    return None
