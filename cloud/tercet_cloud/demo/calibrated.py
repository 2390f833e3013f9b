"""The demo's cascade: its models made, its exits calibrated on unlabelled crops; kept in the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tercet.cascade.document import AuditTerms, Cascade, read_cascade
from tercet.errors import TercetError
from tercet.models.store import Store
from tercet.tiers import Tier
from tercet_cloud.cascade.calibrate_command import CalibrateOptions, calibrate
from tercet_cloud.cascade.calibration_frames import FrameOptions
from tercet_cloud.measurement.sample_frames import FrameSource
from tercet_cloud.models.quantising import make_int8
from tercet_cloud.planner.measuring.measurement_cache import package_versions

# Two stages: on crops of these few photos, no exit can be certified against a larger network that sees them
# otherwise even where both are sure, such as EfficientNet-Lite2.
SMALL, LARGE = "efficientnet-lite0-int8", "efficientnet-lite0"
STAGES = ((SMALL, Tier.DEVICE), (LARGE, Tier.CLOUD))
# Loose terms, so that few frames suffice.
ALPHA, DELTA = 0.1, 0.1
FRAMES, SEED = 160, 11
# Of the codecs for photos the one under which the large model changes none of its answers.
ESCALATE = "png"
# Much, so that a demo's few frames show something.
AUDIT = AuditTerms(share=0.25)
FOLDER = "cascades"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class PreparedCascade:
    """`deployments` are of its stages' models, in their order."""

    cascade: Cascade
    file: Path
    deployments: tuple[Path, ...]

    @property
    def served(self) -> tuple[Path, ...]:
        """What edge and cloud need: all but the device's."""
        return self.deployments[1:]


def prepare_cascade(store: Store, tell: Tell) -> PreparedCascade:
    """The small model and the cascade, from the store or made now; blocks, the first time for some ten seconds.

    The large model is in the store.
    """
    if SMALL not in store.model_names():
        tell(f"quantise {LARGE}")
        make_int8(store, LARGE, SMALL, None, FrameSource())
    folder = store.root / FOLDER / _key(store)
    file = folder / "cascade.yaml"
    deployments = tuple(folder / f"deployment-{name}.yaml" for name, _ in STAGES)
    cascade = _kept(store, file, deployments)
    if cascade is None:
        folder.mkdir(parents=True, exist_ok=True)
        cascade = calibrate(_options(store, file), lambda what: tell(f"calibrate: {what}")).cascade
    return PreparedCascade(cascade, file, deployments)


def describe_calibration() -> str:
    return (
        f"calibrated on {FRAMES} unlabelled crops of the sample photos, others than were sent: agreement with "
        f"{LARGE}, α {ALPHA:g}, δ {DELTA:g}"
    )


def _options(store: Store, file: Path) -> CalibrateOptions:
    return CalibrateOptions(
        stages=tuple(f"{name}:{tier}" for name, tier in STAGES),
        alpha=ALPHA,
        delta=DELTA,
        score="max-softmax",
        frames=FrameOptions(frames=FRAMES, seed=SEED),
        escalate=ESCALATE,
        audit=AUDIT,
        name="demo",
        out=file,
        store=store.root,
    )


def _kept(store: Store, file: Path, deployments: tuple[Path, ...]) -> Cascade | None:
    """What an earlier demo calibrated; None if any of it is missing or damaged. The cascade is written last."""
    if not all(path.exists() for path in (file, *deployments)):
        return None
    try:
        cascade = read_cascade(file)
        for stage in cascade.stages:
            store.manifest(stage.model)
    except TercetError:
        return None
    return cascade


def _key(store: Store) -> str:
    """Of everything that the thresholds depend on."""
    parts = {
        "models": [store.card(name).onnx.sha256 for name, _ in STAGES],
        "terms": [ALPHA, DELTA, FRAMES, SEED, ESCALATE, AUDIT.model_dump(mode="json")],
        "versions": package_versions(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
