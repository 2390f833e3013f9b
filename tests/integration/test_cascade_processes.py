"""A cascade over `tercet edge run`, `tercet device run` and `tercet infer`: records, health, metrics, refusals."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.colours import LABELS, put_colours
from support.dictated import PLAN, whole_deployment
from support.processes import TERCET, TierProcess, free_port, tier_process
from tercet.cascade.document import AuditTerms, Cascade, CascadeStage
from tercet.cascade.exit_rule import ExitRule
from tercet.documents import write_document
from tercet.error_codes import CODES
from tercet.errors import SpecError
from tercet.frame_record import FrameRecord, read_records
from tercet.models.store import Store
from tercet.stack_file import StackFile
from tercet.tiers import Tier


class Placed:
    """Two stages, small on the device and large at the edge, their files, and four photos, two of them grey."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "store")
        stages = []
        for name, tier, size in (("small", Tier.DEVICE, 16), ("large", Tier.EDGE, 32)):
            card = put_colours(self.store, name, size, contrast=8)
            deployment = whole_deployment(card, self.store, tier, "png")
            write_document(deployment, folder / f"{name}.yaml")
            rule = ExitRule(threshold=0.9) if tier == Tier.DEVICE else None
            stages.append(CascadeStage(tier=tier, model=deployment.model, plan=PLAN, exit=rule))
        self.cascade = Cascade(
            name="colours", stages=tuple(stages), escalate="png", audit=AuditTerms(share=0), uncertified=True
        )
        write_document(self.cascade, folder / "cascade.yaml")
        (folder / "photos").mkdir()
        random = np.random.default_rng(0)
        for number, colour in enumerate([(220, 40, 40), (120, 127, 122), (40, 40, 220), (125, 121, 128)]):
            pixels = np.clip(random.normal(colour, 5, (40, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / f"{number}.png")

    def options(self, name: str) -> list[str]:
        return [
            *("--store", str(self.store.root), "--deployment", str(self.folder / f"{name}.yaml")),
            *("--cascade", str(self.folder / "cascade.yaml")),
        ]


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> Placed:
    return Placed(tmp_path_factory.mktemp("placed"))


@pytest.fixture(scope="module")
def edge(placed: Placed) -> Iterator[tuple[TierProcess, int]]:
    port = free_port()
    arguments = ["edge", "run", *placed.options("large"), "--mqtt-port", str(port), "--cloud-address", "none"]
    with tier_process(arguments, placed.folder) as process:
        yield process, port


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(TERCET), *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_a_devices_records_say_who_answered_and_how_sure_it_was(
    placed: Placed, edge: tuple[TierProcess, int]
) -> None:
    process, port = edge
    results = placed.folder / "results.jsonl"
    outcome = run(
        *("device", "run", "--node", "cam-1", "--broker-url", f"mqtt://127.0.0.1:{port}", *placed.options("small")),
        *("--source", str(placed.folder / "photos"), "--results", str(results), "--log-format", "json"),
    )
    assert outcome.returncode == 0, outcome.stderr
    records = list(read_records(results))
    assert [record.stage for record in records] == [0, 1, 0, 1]
    assert {record.cascade for record in records} == {placed.cascade.ref}
    assert [records[0].label, records[2].label] == ["red", "blue"]
    assert all(record.label in LABELS for record in records)
    verdicts = [record.visits[0].verdict for record in records]
    assert [verdict.exited for verdict in verdicts if verdict] == [True, False, True, False]
    assert [verdict.score >= 0.9 for verdict in verdicts if verdict] == [True, False, True, False]
    logged = [json.loads(line) for line in (outcome.stdout + outcome.stderr).splitlines() if line.startswith("{")]
    (exits,) = [entry for entry in logged if entry.get("event") == "exits"]
    assert (exits["judged"], exits["exited"], exits["tightened"]) == (4, 2, 0)
    # The edge has the last stage, which has no exit to watch.
    assert process.facts()["cascades"] == [{"cascade": placed.cascade.ref, "exits": []}]


def test_infer_runs_the_cascade_of_its_stack(placed: Placed, edge: tuple[TierProcess, int]) -> None:
    stack = placed.folder / "stack.json"
    StackFile(
        broker_url=f"mqtt://127.0.0.1:{edge[1]}",
        fleet="default",
        store=placed.store.root,
        deployment=placed.folder / "small.yaml",
        cascade=placed.folder / "cascade.yaml",
    ).write(stack)
    photos = [str(placed.folder / "photos" / f"{number}.png") for number in (0, 1)]
    shown = run("infer", "--stack", str(stack), *photos)
    assert shown.returncode == 0, shown.stderr
    assert "stage 0: score 1 of 0.9, exits" in shown.stdout
    assert "of 0.9, goes on" in shown.stdout
    as_json = run("infer", "--stack", str(stack), "--json", *photos)
    records = [FrameRecord.model_validate_json(line) for line in as_json.stdout.splitlines()]
    assert [record.stage for record in records] == [0, 1]
    refused = run("infer", "--stack", str(stack), "--plan", "whole", *photos)
    assert refused.returncode == CODES[SpecError].exit_status
    assert "leave out --plan" in refused.stderr


@pytest.mark.parametrize("tier", ["device", "edge"])
def test_a_cascade_for_other_models_is_refused_at_start(placed: Placed, tmp_path: Path, tier: str) -> None:
    other = [
        stage.model_copy(update={"model": f"{stage.model.partition('@')[0]}@000000000000"})
        for stage in placed.cascade.stages
    ]
    write_document(placed.cascade.model_copy(update={"stages": tuple(other)}), tmp_path / "other.yaml")
    name = "small" if tier == "device" else "large"
    options = [*placed.options(name)[:-1], str(tmp_path / "other.yaml")]
    outcome = run(tier, "run", "--node", "node-1", *options, *(["--mqtt-port", "0"] if tier == "edge" else []))
    assert outcome.returncode == CODES[SpecError].exit_status
    assert "Traceback" not in outcome.stderr
    assert f"calibrated with {name}@000000000000, but {name}@" in outcome.stderr
