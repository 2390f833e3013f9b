"""`tercet cascade`: what it writes, what tiers make of it, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from support.dictated import NAMES, put_model
from tercet.cascade.document import read_cascade
from tercet.cascade.open_cascade import OpenCascade
from tercet.cut_model import open_deployments
from tercet.errors import SpecError
from tercet.models.store import Store
from tercet.plans import read_deployment
from tercet.tiers import Tier
from tercet_cloud.cascade.calibrate_command import parse_stages
from tercet_cloud.cascade.commands import cascade
from tercet_cloud.cascade.escalation import EscalationRow, cheapest


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    for name in NAMES:
        put_model(made, name)
    return made


def write_frames(path: Path, count: int, *, labels: bool = False) -> Path:
    """Small is right where it is sure, mid nearly always, large always."""
    random = np.random.default_rng(1)
    truth = random.choice([-1.0, 1.0], count)
    small = truth * random.normal(1.5, 1.5, count)
    mid = truth * random.normal(2.5, 1.0, count)
    columns = [part for scores in (small, mid, truth * 6) for part in (-scores, scores)]
    arrays = {"x": np.stack(columns, axis=1).astype(np.float32)}
    if labels:
        arrays["labels"] = (truth > 0).astype(np.int64)
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def run(store: Store, out: Path, *arguments: str, stages: tuple[str, ...] = NAMES) -> Result:
    named = [argument for stage in stages for argument in ("--stage", stage)]
    common = ["--store", str(store.root), "--out", str(out)]
    return CliRunner().invoke(cascade, ["calibrate", *named, *common, *arguments])


def test_what_it_writes_runs_on_every_tier(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "made" / "cascade.yaml"
    frames = write_frames(tmp_path / "frames.npz", 3000)
    result = run(store, out, "--inputs", str(frames), "--name", "dictated", "--json")
    assert result.exception is None
    facts = json.loads(result.stdout)
    document = read_cascade(out)
    assert facts["ref"] == document.ref
    assert [stage.tier for stage in document.stages] == list(Tier)
    assert document.delta == 0.05
    assert sum(facts["shares"]) == pytest.approx(1)
    assert facts["shares"][0] > 0.1
    assert facts["agreement"] > 0.95
    deployments = {name: read_deployment(out.parent / f"deployment-{name}.yaml") for name in NAMES}
    for tier in Tier:
        models = open_deployments(deployments.values(), store)
        OpenCascade.open(document, store, models, tier, "node-1")
        for model in models.values():
            model.load_for(tier)


def test_with_labels_the_certificates_say_so(store: Store, tmp_path: Path) -> None:
    frames = write_frames(tmp_path / "frames.npz", 2000, labels=True)
    result = run(store, tmp_path / "c.yaml", "--inputs", str(frames), "--labels", stages=("small", "large:edge"))
    assert result.exception is None
    assert "differ from the true label" in result.stdout
    document = read_cascade(tmp_path / "c.yaml")
    assert document.stages[0].certificate
    assert document.stages[0].certificate.agreed_with == "labels"
    assert [stage.tier for stage in document.stages] == [Tier.DEVICE, Tier.EDGE]


def test_the_same_frames_give_the_same_cascade(store: Store, tmp_path: Path) -> None:
    frames = str(write_frames(tmp_path / "frames.npz", 1000))
    for name in ("a", "b"):
        assert run(store, tmp_path / f"{name}.yaml", "--inputs", frames, "--frames", "900").exception is None
    assert read_cascade(tmp_path / "a.yaml") == read_cascade(tmp_path / "b.yaml")


def test_show_says_what_is_promised(store: Store, tmp_path: Path) -> None:
    frames = write_frames(tmp_path / "frames.npz", 2000)
    assert run(store, tmp_path / "c.yaml", "--inputs", str(frames)).exception is None
    shown = CliRunner().invoke(cascade, ["show", str(tmp_path / "c.yaml")])
    assert "at most 5.0% of the answers differ from the large model, with confidence 95.0%" in shown.stdout
    assert "δ is split (0.025 + 0.025)" in shown.stdout
    as_json = CliRunner().invoke(cascade, ["show", str(tmp_path / "c.yaml"), "--json"])
    assert json.loads(as_json.stdout)["ref"] == read_cascade(tmp_path / "c.yaml").ref


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--frames", "100"), "at least 480 are needed"),
        (("--alpha", "0"), "promise nothing"),
        (("--escalate", "webp:75"), "photos cross by a codec for photos"),
        (("--escalate", "zip"), "zip"),
        (("--labels",), "no array `labels`"),
        (("--name", "Not a name"), "not allowed"),
    ],
)
def test_what_cannot_be_certified_is_refused_before_anything_is_written(
    store: Store, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    frames = write_frames(tmp_path / "frames.npz", 500)
    result = run(store, tmp_path / "c.yaml", "--inputs", str(frames), *arguments)
    assert isinstance(result.exception, SpecError)
    assert says in str(result.exception)
    assert not (tmp_path / "c.yaml").exists()


def test_frames_are_needed_and_of_the_right_kind(store: Store, tmp_path: Path) -> None:
    assert "--inputs FILE.npz" in str(run(store, tmp_path / "c.yaml").exception)
    assert "takes tensors, no photos" in str(run(store, tmp_path / "c.yaml", "--photos", str(tmp_path)).exception)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (("a",), "two or three stages"),
        (("a", "b", "c", "d"), "two or three stages"),
        (("a", "b:moon"), "the tier is one of device, edge, cloud"),
        (("a:edge", "b:device"), "from device to cloud"),
        (("a:edge", "b:edge"), "each on a tier of its own"),
    ],
)
def test_stages_that_cannot_follow_each_other_are_refused(texts: tuple[str, ...], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        parse_stages(texts)


def test_stages_get_their_usual_tiers() -> None:
    assert parse_stages(("a", "b", "c")) == [("a", Tier.DEVICE), ("b", Tier.EDGE), ("c", Tier.CLOUD)]
    assert parse_stages(("a", "b")) == [("a", Tier.DEVICE), ("b", Tier.CLOUD)]
    assert parse_stages(("a:edge", "b")) == [("a", Tier.EDGE), ("b", Tier.CLOUD)]


def test_the_cheapest_codec_that_changes_little_is_taken() -> None:
    rows = [
        EscalationRow("png", 100, 0, 9),
        EscalationRow("webp:90", 20, 0.04, 9),
        EscalationRow("webp:5", 2, 0.3, 9),
    ]
    assert cheapest(rows, 0.1).codec == "webp:90"
    assert cheapest(rows, 0.7).codec == "webp:5"
    assert cheapest(rows[1:], 0.01).codec == "webp:90"
