"""clock-jump"""

from __future__ import annotations

import random
import time

from chaos.evidence import captured_at
from chaos.outcome import Outcome
from chaos.scenario import Load, Plan, Scenario
from chaos.seed_run import SeedRun

READY_S = 60.0
# What a time of capture may be off, if it is not flagged as doubtful.
TRUE_WITHIN_S = 2.0
DOUBTFUL = ("unknown", "bare-clock")
_HOUR_S, _YEAR_S = 3600.0, 31_557_600.0


class ClockJump(Scenario):
    """A clock that says 1970, or jumps by hours or years, costs no frame; times of capture are right or flagged.

    The wall clock of the device is emulated: wrong from the start, and jumping under way. The device is killed and
    started again besides, so that part of its frames are of an earlier life.
    """

    name = "clock-jump"
    load = Load(frames=100, hz=20)
    unheard_most = 1

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        wrong_by_s = dice.choice((-time_since_1970_s(), 30 * _YEAR_S, -3 * _HOUR_S, 0.0))
        return {
            "wrong by s": float(round(wrong_by_s)),
            "jump at s": round(dice.uniform(1.5, 3.0), 2),
            "jump by s": float(round(dice.choice((-1, 1)) * dice.choice((_HOUR_S, 5 * _YEAR_S)))),
            "kill s": dice.uniform(0.3, 2.0),
        }

    def camera_options(self, run: SeedRun) -> tuple[str, ...]:
        return (
            *("--emulated-clock-offset-s", f"{run.number('wrong by s'):.0f}"),
            *("--emulated-clock-jump-s", f"{run.number('jump at s')}:{run.number('jump by s'):.0f}"),
        )

    async def strike(self, run: SeedRun) -> None:
        await run.sleep("kill s")
        killed = await run.camera.kill_serving()
        run.fault("device killed")
        told = run.acknowledged()
        await run.camera.wait_ready(READY_S, other_than=killed)
        await run.until_recorded(told, READY_S)
        run.serving_again(time.monotonic())

    async def settle(self, run: SeedRun) -> None:
        """Compare what the store says of times of capture with when the application was told."""
        now_s, now_monotonic_s = time.time(), time.monotonic()
        told_s = {key: at_s for lines in run.lines().values() for key, at_s in lines.told_s.items()}
        known = captured_at(run.store_file, run.nodes)
        off, doubtful = [], 0
        for key, (captured_us, source) in known.items():
            if key not in told_s:
                continue
            true_s = now_s - (now_monotonic_s - told_s[key])
            if abs(captured_us / 1e6 - true_s) > TRUE_WITHIN_S:
                if source in DOUBTFUL:
                    doubtful += 1
                else:
                    off.append(captured_us / 1e6 - true_s)
        run.facts["doubtful"] = doubtful
        run.facts["wrong times"] = len(off)
        run.facts["worst off s"] = round(max(map(abs, off), default=0.0), 1)

    def broken(self, outcome: Outcome) -> list[str]:
        wrong = int(outcome.facts.get("wrong times", 0))
        worst_s = outcome.facts.get("worst off s")
        return [f"{wrong} times of capture are wrong and not flagged, by up to {worst_s} s"] if wrong else []


def time_since_1970_s() -> float:
    """So that the emulated clock says 1970, to the year: the same for every run of this year."""
    return float((time.gmtime().tm_year - 1970) * _YEAR_S)
