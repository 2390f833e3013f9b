"""The demo's cascade while it serves: one device sends crops, each answered by the first model that is sure."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tercet.errors import UnavailableError
from tercet.frame_record import read_records
from tercet.models.store import Store
from tercet_cloud.demo.calibrated import AUDIT, LARGE, PreparedCascade, describe_calibration
from tercet_cloud.demo.cascade_figures import CascadeFigures, cascade_figures
from tercet_cloud.demo.reference import reference_scores
from tercet_cloud.demo.setting import EMULATION
from tercet_cloud.measurement.sample_photos import PHOTO_NAMES, write_crops
from tercet_cloud.stack.local_stack import LocalStack

FRAMES = 48
# Other crops than those of the calibration.
_SEED = 29
_DEADLINE_MS = 20_000
_WINDOW = 4
_START_S, _FRAME_S = 30.0, 2.0
_HEALTH_S = 5.0


async def run_cascade(stack: LocalStack, prepared: PreparedCascade, store: Store, out: Path) -> CascadeFigures:
    """Send the crops through the running stack, which serves the cascade, and hear what its audits say.

    Raises:
        UnavailableError: the device did not run.
    """
    photos, results = out / "cascade-photos", out / "cascade.jsonl"
    results.unlink(missing_ok=True)
    paths = await asyncio.to_thread(write_sent_crops, photos)
    device = stack.start_device(
        "device-cascade",
        [
            *("--source", str(photos), "--cascade", str(prepared.file), "--results", str(results)),
            *("--window", str(_WINDOW), "--deadline-ms", str(_DEADLINE_MS), "--log-format", "json"),
        ],
        deployment=prepared.deployments[0],
    )
    await device.wait_exit(_START_S + _FRAME_S * len(paths))
    records = list(read_records(results)) if results.exists() else []
    if not records:
        raise UnavailableError(f"{device.node} failed: {device.last_words()}; see {device.log}")
    scores = await asyncio.to_thread(reference_scores, store.card(LARGE), store, paths)
    return cascade_figures(
        prepared.cascade,
        records,
        {path: int(score.argmax()) for path, score in scores.items()},
        device_exits(device.log),
        setting=f"{EMULATION.describe()} {AUDIT.share:.0%} of confident frames are audited, for the demo.",
        calibrated_with=describe_calibration(),
        expected_frames=len(paths),
    )


def write_sent_crops(folder: Path) -> list[Path]:
    """Random crops; not the centres, which calibration has too."""
    paths = write_crops(FRAMES + len(PHOTO_NAMES), [folder], seed=_SEED)
    for centre in paths[: len(PHOTO_NAMES)]:
        centre.unlink()
    return paths[len(PHOTO_NAMES) :]


def device_exits(log: Path) -> list[Mapping[str, Any]]:
    """What a device that logs JSON said of its exits at its end."""
    found: list[Mapping[str, Any]] = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("event") == "exits":
            found.append(entry)
    return found
