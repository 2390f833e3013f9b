"""What a link does now, estimated from the frames that crossed it anyway.

A frame's link time is the sender's wait less the receiver's own time, so no clocks are compared. It is modelled as
round trip + bytes × time per byte; both are tracked by a Kalman filter of two states whose noise grows with time
and with every surprise, so that a link that changed is believed after two frames, and one late frame changes
little. Which of the two a surprise is blamed on depends on the sizes seen; small probes settle it where frames have
one size.

Source of the filter: Kalman 1960, "A New Approach to Linear Filtering and Prediction Problems", eqs. 28–32.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt

from tercet.errors import SpecError

# Relative drift per second: how much a link may change unnoticed. Speeds change more than distances.
_DRIFT_ROUND_TRIP = 0.05
_DRIFT_PER_KB = 0.15
# Relative uncertainty that a surprise restores, and what counts as one, in standard deviations.
_SURPRISE_ROUND_TRIP = 0.5
_SURPRISE_PER_KB = 4.0
_SURPRISE = 3.0
# Two surprises in a row of one sign are a change; a single one is a late frame.
_SURPRISES_TO_CHANGE = 2
# Times on a link vary by a share of themselves, learnt from what was no surprise, and by a little in any case.
_NOISE_FLOOR_MS = 0.5
_NOISE_SHARE_FIRST, _NOISE_SHARE_LEAST, _NOISE_SHARE_MOST = 0.1, 0.02, 0.2
_NOISE_MEMORY = 0.1
_LOSS_MEMORY = 0.1
# What was lost long ago says little of now.
_LOSS_HALVES_S = 2.0
_MIN_ROUND_TRIP_MS = 0.01
_MIN_MS_PER_KB = 8e-5  # 100 Gbit/s
_MAX_MS_PER_KB = 8e5  # 10 bit/s


@dataclass(frozen=True)
class LinkEstimate:
    """One link, both ways together.

    Attributes:
        goodput_mbps: 10^6 bits per second of a frame's own bytes, up and back.
        round_trip_ms: what a frame of no bytes would take on the link, messaging included.
        loss: share of frames that no answer came to, 0…1, of late.
        spread_ms: standard deviation of link times around the estimate, whatever the size.
        spread_share: the part of it that grows with the time on the link, as a share of that.
        age_s: since the last frame or probe that it rests on; infinite before the first.
        samples: how many there were.
    """

    goodput_mbps: float
    round_trip_ms: float
    loss: float = 0.0
    spread_ms: float = 0.0
    spread_share: float = 0.0
    age_s: float = float("inf")
    samples: int = 0

    def __post_init__(self) -> None:
        numbers = (self.goodput_mbps, self.round_trip_ms, self.loss, self.spread_ms, self.spread_share)
        if not all(map(isfinite, numbers)) or self.goodput_mbps <= 0 or min(numbers) < 0 or self.loss > 1:
            raise SpecError(
                f"a link of {self.goodput_mbps} Mbit/s, {self.round_trip_ms} ms, loss {self.loss}, spread "
                f"{self.spread_ms} ms is no estimate: numbers must be finite, not negative, loss at most 1"
            )
        if self.age_s != self.age_s or self.age_s < 0:
            raise SpecError(f"an estimate cannot be {self.age_s} s old")

    def transfer_ms(self, size_bytes: float) -> float:
        """Time on the link for a frame and its answer of `size_bytes` together."""
        return self.round_trip_ms + size_bytes * 8 / (self.goodput_mbps * 1000)

    def variance_ms2(self, link_ms: float) -> float:
        """Of a time on the link that is expected to be `link_ms`."""
        return self.spread_ms**2 + (self.spread_share * link_ms) ** 2


class LinkEstimator:
    """Tracks one link. Not thread-safe; times are seconds of any one monotonic clock.

    Args:
        prior: what to believe before the first frame, e.g. from the topology.
    """

    def __init__(self, prior: LinkEstimate) -> None:
        self._round_trip_ms = max(prior.round_trip_ms, _MIN_ROUND_TRIP_MS)
        self._ms_per_kb = 8 / prior.goodput_mbps
        # Covariance of (round trip, ms per kB): sure of nothing at first.
        self._p_rr = (0.5 * self._round_trip_ms + 1) ** 2
        self._p_kk = self._ms_per_kb**2
        self._p_rk = 0.0
        self._noise_share2 = max(_NOISE_SHARE_FIRST, prior.spread_share) ** 2
        self._loss, self._lost_s = prior.loss, 0.0
        self._updated_s: float | None = None
        self._surprises = 0
        self.samples = 0

    @property
    def surprised(self) -> bool:
        """Whether the last sample was a surprise that is not believed yet: another soon would settle it."""
        return 0 < abs(self._surprises) < _SURPRISES_TO_CHANGE

    def answered(self, size_bytes: float, link_ms: float, now_s: float) -> None:
        """A frame and its answer of `size_bytes` together took `link_ms` on the link."""
        if not (isfinite(link_ms) and isfinite(size_bytes)) or link_ms < 0 or size_bytes < 0:
            return
        self._loss, self._lost_s = self._loss_at(now_s) * (1 - _LOSS_MEMORY), now_s
        self._update(size_bytes / 1000, link_ms, now_s)

    def waiting(self, size_bytes: float, waited_ms: float, now_s: float) -> None:
        """A frame has been on the link for `waited_ms` and is not answered yet: news only if that is surprising."""
        expected_ms = self._round_trip_ms + size_bytes / 1000 * self._ms_per_kb
        if waited_ms > expected_ms + 2 * _SURPRISE * sqrt(self._noise(expected_ms)):
            self._surprises = max(self._surprises, _SURPRISES_TO_CHANGE - 1)
            self._update(size_bytes / 1000, waited_ms, now_s)

    def lost(self, now_s: float) -> None:
        """No answer came, long after it should have."""
        loss = self._loss_at(now_s)
        self._loss, self._lost_s = loss + _LOSS_MEMORY * (1 - loss), now_s
        self._updated_s = now_s

    def estimate(self, now_s: float) -> LinkEstimate:
        age_s = float("inf") if self._updated_s is None else max(0.0, now_s - self._updated_s)
        return LinkEstimate(
            goodput_mbps=8 / self._ms_per_kb,
            round_trip_ms=self._round_trip_ms,
            loss=min(1.0, max(0.0, self._loss_at(now_s))),
            spread_ms=_NOISE_FLOOR_MS,
            spread_share=sqrt(self._noise_share2),
            age_s=age_s,
            samples=self.samples,
        )

    def _update(self, size_kb: float, link_ms: float, now_s: float) -> None:
        self._drift(now_s)
        expected_ms = self._round_trip_ms + size_kb * self._ms_per_kb
        residual = link_ms - expected_ms
        noise = self._noise(expected_ms)
        variance = self._p_rr + 2 * size_kb * self._p_rk + size_kb**2 * self._p_kk + noise
        if abs(residual) > _SURPRISE * sqrt(variance):
            sign = 1 if residual > 0 else -1
            self._surprises = self._surprises + sign if self._surprises * sign >= 0 else sign
            if abs(self._surprises) < _SURPRISES_TO_CHANGE:
                # One late frame: believed as far as three standard deviations.
                residual = sign * _SURPRISE * sqrt(variance)
            else:
                self._p_rr += (_SURPRISE_ROUND_TRIP * self._round_trip_ms) ** 2
                self._p_kk += (_SURPRISE_PER_KB * self._ms_per_kb) ** 2
                variance = self._p_rr + 2 * size_kb * self._p_rk + size_kb**2 * self._p_kk + noise
        else:
            self._surprises = 0
            # What is not explained by our own doubt about the link is noise.
            share2 = max(0.0, residual**2 - (variance - noise)) / expected_ms**2
            self._noise_share2 += _NOISE_MEMORY * (share2 - self._noise_share2)
            self._noise_share2 = min(max(self._noise_share2, _NOISE_SHARE_LEAST**2), _NOISE_SHARE_MOST**2)
        self._correct(size_kb, residual, variance)
        self._updated_s = now_s
        self.samples += 1

    def _correct(self, size_kb: float, residual: float, variance: float) -> None:
        gain_r = (self._p_rr + size_kb * self._p_rk) / variance
        gain_k = (self._p_rk + size_kb * self._p_kk) / variance
        told_ms = self._round_trip_ms + size_kb * self._ms_per_kb + (gain_r + size_kb * gain_k) * residual
        per_kb = min(_MAX_MS_PER_KB, max(_MIN_MS_PER_KB, self._ms_per_kb + gain_k * residual))
        # What one of the two cannot take without becoming impossible, the other takes.
        self._round_trip_ms = max(_MIN_ROUND_TRIP_MS, told_ms - size_kb * per_kb)
        if self._round_trip_ms == _MIN_ROUND_TRIP_MS and size_kb > 0:
            per_kb = min(_MAX_MS_PER_KB, max(_MIN_MS_PER_KB, (told_ms - _MIN_ROUND_TRIP_MS) / size_kb))
        self._ms_per_kb = per_kb
        p_rr, p_rk, p_kk = self._p_rr, self._p_rk, self._p_kk
        self._p_rr = max(1e-9, p_rr - gain_r * (p_rr + size_kb * p_rk))
        self._p_rk = p_rk - gain_r * (p_rk + size_kb * p_kk)
        self._p_kk = max(1e-12, p_kk - gain_k * (p_rk + size_kb * p_kk))

    def _drift(self, now_s: float) -> None:
        if self._updated_s is None:
            return
        passed_s = min(60.0, max(0.0, now_s - self._updated_s))
        self._p_rr += passed_s * (_DRIFT_ROUND_TRIP * self._round_trip_ms) ** 2
        self._p_kk += passed_s * (_DRIFT_PER_KB * self._ms_per_kb) ** 2

    def _noise(self, link_ms: float) -> float:
        return _NOISE_FLOOR_MS**2 + self._noise_share2 * link_ms**2

    def _loss_at(self, now_s: float) -> float:
        return self._loss * float(0.5 ** (max(0.0, now_s - self._lost_s) / _LOSS_HALVES_S))
