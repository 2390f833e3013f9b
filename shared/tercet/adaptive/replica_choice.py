"""Which of several equal peers (cloud addresses, edges) a frame goes to: the one predicted to answer first.

Each peer's time is tracked from its own answers; what is under way to a peer counts as a queue ahead of the next
frame. Two peers are drawn at random and the better of them taken, so that many senders with the same stale picture
do not all go to one (Mitzenmacher 2001, "The Power of Two Choices in Randomized Load Balancing").
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

from tercet.adaptive.circuit_breaker import LONGEST_PAUSE_S, CircuitBreaker, State
from tercet.errors import LinkDownError, SpecError

PeerT = TypeVar("PeerT", bound=Hashable)

_MEMORY = 0.2
# What is believed of a peer that has not answered yet: optimistic, so that it is tried.
_UNKNOWN_MS = 0.1
# What a peer was like this long ago says nothing: one that was slow is tried again with a frame.
_FORGET_S = 10.0
# A probe costs nobody an answer, so it may come more often than a frame that is risked.
_PROBE_PAUSE_S = 2.0
_SHORTEST_RETRY_S = 0.1


class _Peer:
    def __init__(self, seed: int, longest_pause_s: float) -> None:
        self.breaker = CircuitBreaker(seed=seed, longest_pause_s=longest_pause_s)
        self.latency_ms: float | None = None
        self.under_way = 0
        self.asked_s = 0.0

    def predicted_ms(self, now_s: float) -> float:
        known_ms = self.latency_ms if now_s - self.asked_s < _FORGET_S else None
        return (known_ms or _UNKNOWN_MS) * (1 + self.under_way)


class ReplicaChoice(Generic[PeerT]):
    """Live weights of several peers. Not thread-safe; times are seconds of any one monotonic clock.

    Every `choose` must be followed by exactly one of `answered`, `reached`, `failed` or `abandoned` for that peer.

    Args:
        probed: whether the owner probes peers that are left alone, as `probe_due` says; no frame is then risked to
            see whether one is back.
    """

    def __init__(self, peers: Sequence[PeerT], *, seed: int = 0, probed: bool = False) -> None:
        if not peers or len(set(peers)) != len(peers):
            raise SpecError("routing needs at least one peer, and each once")
        self._random = random.Random(seed)
        self._probed = probed
        pause_s = _PROBE_PAUSE_S if probed else LONGEST_PAUSE_S
        self._peers = {peer: _Peer(seed + number, pause_s) for number, peer in enumerate(peers)}

    def choose(self, now_s: float, *, avoid: frozenset[PeerT] = frozenset()) -> PeerT:
        """The peer for the next frame, `avoid` only if there is no other.

        Raises:
            LinkDownError: every peer is left out for now; says when to try again.
        """
        for candidates in (self._peers.keys() - avoid, self._peers.keys() & avoid):
            if (peer := self._best(sorted(candidates, key=str), now_s)) is not None:
                self._peers[peer].under_way += 1
                self._peers[peer].asked_s = now_s
                return peer
        wait_s = max(_SHORTEST_RETRY_S, min(peer.breaker.retry_after_s(now_s) for peer in self._peers.values()))
        names = ", ".join(map(str, self._peers))
        raise LinkDownError(f"{names}: left alone after failures in a row", retry_after_s=wait_s)

    def answered(self, peer: PeerT, latency_ms: float) -> None:
        """The peer answered, refusals included, after `latency_ms`."""
        state = self._end(peer)
        state.breaker.succeeded()
        before_ms = state.latency_ms
        state.latency_ms = latency_ms if before_ms is None else before_ms + _MEMORY * (latency_ms - before_ms)

    def reached(self, peer: PeerT) -> None:
        """The peer answered something else than a frame: it is there; how quick it is with frames is not learnt."""
        self._end(peer).breaker.succeeded()

    def failed(self, peer: PeerT, now_s: float) -> None:
        """The peer did not answer."""
        self._end(peer).breaker.failed(now_s)

    def abandoned(self, peer: PeerT) -> None:
        """The caller went away: nothing is learnt."""
        self._end(peer).breaker.abandoned()

    def probe_due(self, peer: PeerT, now_s: float) -> bool:
        """Whether to probe a peer that is left alone now; `revived` or `gone` must follow."""
        breaker = self._peers[peer].breaker
        return breaker.state(now_s) == "half-open" and breaker.allows(now_s)

    def revived(self, peer: PeerT) -> None:
        """The peer answered a probe."""
        self._peers[peer].breaker.succeeded()

    def gone(self, peer: PeerT, now_s: float) -> None:
        """The peer did not answer a probe: it is left alone from now on, or for longer."""
        self._peers[peer].breaker.gone(now_s)

    def states(self, now_s: float) -> dict[PeerT, State]:
        return {peer: state.breaker.state(now_s) for peer, state in self._peers.items()}

    def _end(self, peer: PeerT) -> _Peer:
        state = self._peers[peer]
        state.under_way = max(0, state.under_way - 1)
        return state

    def _best(self, candidates: list[PeerT], now_s: float) -> PeerT | None:
        # A peer whose time for a trial has come gets one frame first, or nobody would ever notice that it is back.
        for peer in () if self._probed else candidates:
            breaker = self._peers[peer].breaker
            if breaker.state(now_s) == "half-open" and breaker.allows(now_s):
                return peer
        closed = [peer for peer in candidates if self._peers[peer].breaker.state(now_s) == "closed"]
        if not closed:
            return None
        drawn = self._random.sample(closed, min(2, len(closed)))
        return min(drawn, key=lambda peer: self._peers[peer].predicted_ms(now_s))
