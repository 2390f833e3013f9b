"""The demo's bandwidth step: an adaptive device sends frames while the first link slows down and recovers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tercet.adaptive.link_estimate import LinkEstimate
from tercet.adaptive.plan_choice import rescaled
from tercet.documents import write_document
from tercet.errors import InvariantError, UnavailableError
from tercet.frame_record import FrameRecord
from tercet.plans import Deployment, Plan
from tercet.tiers import Tier
from tercet_cloud.demo.planned import ALL_DEVICE, PLANNED
from tercet_cloud.demo.setting import (
    DEVICE_EDGE_OVERHEAD_MS,
    DEVICE_SLOWDOWN,
    EDGE_CLOUD_OVERHEAD_MS,
    EMULATION,
    STEP_DEVICE_SLOWDOWN,
    STEP_SLOW,
    UPLINK,
    WIFI,
)
from tercet_cloud.demo.step_figures import Phase, StepFigures, best_plan, step_figures
from tercet_cloud.emulation.link_condition import LinkCondition
from tercet_cloud.emulation.trace import step_trace
from tercet_cloud.measurement.sample_photos import write_crops
from tercet_cloud.stack.local_stack import DEVICE_EDGE, LocalStack

# From many bytes to none.
PLANS = ("raw", "int8", PLANNED, ALL_DEVICE)
RATE_HZ = 3.0
WARM_UP_S = 1.5
STEP_AT_S, BACK_AT_S, ENDS_AT_S = 1.5, 4.5, 8.5
SHOW_EVERY_S = 0.5
# The deadline, over what all on the device is predicted to take: frames under way at the step are to come late, but
# not to be given up.
_DEADLINE_SHARE = 2.2
_PHOTOS = 8
_START_S = 30.0
_SPARE_S = 30.0
_BAR_MS = 15.0

Say = Callable[[str], None]


def step_phases() -> tuple[Phase, ...]:
    fast, slow = WIFI.up_mbps, STEP_SLOW.up_mbps
    return (
        Phase(f"{fast:g} Mbit/s", fast, 0.0, STEP_AT_S),
        Phase(f"{slow:g} Mbit/s", slow, STEP_AT_S, BACK_AT_S),
        Phase(f"{fast:g} Mbit/s again", fast, BACK_AT_S, ENDS_AT_S),
    )


def step_deployment(planned: Deployment) -> Deployment:
    """Few plans to choose among, with their predictions for the step's device."""
    paces = {Tier.DEVICE: STEP_DEVICE_SLOWDOWN / DEVICE_SLOWDOWN}
    plans = [planned.plan(name) for name in PLANS]
    return planned.model_copy(update={"plans": tuple(_paced(plan, paces) for plan in plans)})


def _paced(plan: Plan, paces: dict[Tier, float]) -> Plan:
    if plan.predicted is None:
        raise InvariantError(f"plan {plan.id} of the bandwidth step has no prediction")
    return plan.model_copy(update={"predicted": rescaled(plan.predicted, paces)})


def step_deadline_ms(deployment: Deployment) -> int:
    predicted = deployment.plan(ALL_DEVICE).predicted
    if predicted is None:
        raise InvariantError("the bandwidth step has no prediction for all on the device")
    return round(_DEADLINE_SHARE * predicted.device_ms)


def expected_plans(deployment: Deployment, deadline_ms: float) -> list[str]:
    """The best plan on the first link as it is before and after the step."""
    uplink = _estimate(UPLINK, EDGE_CLOUD_OVERHEAD_MS)
    return [
        best_plan(deployment.plans, _estimate(link, DEVICE_EDGE_OVERHEAD_MS), uplink, deadline_ms)
        for link in (WIFI, STEP_SLOW)
    ]


def _estimate(link: LinkCondition, overhead_ms: float) -> LinkEstimate:
    return LinkEstimate(link.up_mbps, link.round_trip_ms + overhead_ms, age_s=0.0)


async def run_step(stack: LocalStack, planned: Deployment, out: Path, say: Say) -> StepFigures:
    """Play the step on the running stack's first link and tell every half second what the device does.

    Args:
        planned: the stack's plans, with predictions.
        out: folder for photos, records and the device's deployment.
        say: told one line at a time.
    Raises:
        UnavailableError: the device did not run.
    """
    deployment = step_deployment(planned)
    path, results, photos = out / "deployment-step.yaml", out / "step.jsonl", out / "step-photos"
    write_document(deployment, path)
    results.unlink(missing_ok=True)
    write_crops(_PHOTOS, [photos])
    deadline_ms = step_deadline_ms(deployment)
    frames = round((WARM_UP_S + ENDS_AT_S) * RATE_HZ)
    device = stack.start_device(
        "device-step",
        [
            *("--source", str(photos), "--frames", str(frames), "--results", str(results)),
            *("--rate-hz", str(RATE_HZ), "--window", "4", "--deadline-ms", str(deadline_ms)),
            *("--emulated-slowdown", str(STEP_DEVICE_SLOWDOWN)),
        ],
        deployment=path,
    )
    async with asyncio.timeout(_START_S):
        while not whole_records(results):
            if device.exit_status is not None:
                raise UnavailableError(f"{device.node} failed: {device.last_words()}; see {device.log}")
            await asyncio.sleep(0.05)
    await asyncio.sleep(WARM_UP_S)
    await stack.links.play(DEVICE_EDGE, step_trace(WIFI, STEP_SLOW, STEP_AT_S, BACK_AT_S))
    began_s = time.monotonic()
    await _show(results, began_s, say)
    await device.wait_exit(_SPARE_S)
    await stack.links.change(DEVICE_EDGE, WIFI)
    return step_figures(
        whole_records(results),
        step_phases(),
        began_s,
        deadline_ms=deadline_ms,
        setting=(
            f"{EMULATION.describe()} For the step the device is {STEP_DEVICE_SLOWDOWN:g}× slower; its link "
            f"goes from {WIFI.up_mbps:g} to {STEP_SLOW.up_mbps:g} Mbit/s and back. Deadline {deadline_ms} ms, "
            f"{RATE_HZ:g} frames a second."
        ),
        expected_plans=expected_plans(deployment, deadline_ms),
        expected_frames=frames,
    )


async def _show(results: Path, began_s: float, say: Say) -> None:
    """A line every half second until the trace is over."""
    shown = len(whole_records(results))
    for phase in step_phases():
        while (now_s := time.monotonic() - began_s) < phase.until_s:
            await asyncio.sleep(min(SHOW_EVERY_S, phase.until_s - now_s))
            records = whole_records(results)
            say(strip_line(time.monotonic() - began_s, phase.mbps, records[shown:]))
            shown = len(records)


def strip_line(at_s: float, mbps: float, records: Sequence[FrameRecord]) -> str:
    """One line of the strip chart: the link as it is set, the plan of the last frame, its latency as a bar."""
    head = f"{at_s:4.1f} s  emulated link {mbps:>3g} Mbit/s  "
    if not records:
        return f"{head}{'(no answer yet)':<12}"
    last = records[-1]
    if last.error is not None:
        return f"{head}{last.plan:<12} lost: {last.error_kind}"
    bar = "█" * min(40, max(1, round(last.latency_ms / _BAR_MS)))
    return f"{head}{last.plan:<12} {bar} {last.latency_ms:.0f} ms" + (" (degraded)" if last.degraded else "")


def whole_records(path: Path) -> list[FrameRecord]:
    """Of a file that a device is still writing: the lines that are complete."""
    if not path.exists():
        return []
    *lines, _ = path.read_text(encoding="utf-8").split("\n")
    return [FrameRecord.model_validate_json(line) for line in lines]
