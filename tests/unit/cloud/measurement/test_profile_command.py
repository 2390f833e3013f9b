"""`tercet profile` as people use it, on an install that can cut and on one that cannot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from support.conv_net import conv_net, put_model
from tercet.cli import profile_command as light
from tercet.documents import read_document
from tercet.errors import NotFoundError, SettingsError, SpecError, TercetError
from tercet.models.store import Store
from tercet.profile import Profile
from tercet.tiers import Tier
from tercet_cloud.measurement.profile_command import profile
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.models.profiling_cut import slice_for_profiling
from tercet_cloud.planner.costs.op_times import operation_times_ms


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    put_model(store, conv_net(blocks=8))
    put_model(store, conv_net(blocks=4, side="side"), "open-net")
    return store


@pytest.fixture
def quick(store: Store, tmp_path: Path) -> list[str]:
    return ["--store", str(store.root), "--seconds", "0.1", "--out", str(tmp_path / "p.yaml"), "--node", "here"]


def test_a_model_is_cut_measured_shown_and_written(store: Store, quick: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(profile, ["conv-net", "--tier", "edge", *quick], catch_exceptions=False)
    assert done.exit_code == 0
    assert "median error over" in done.stdout
    assert "wrote" in done.stderr
    found = read_document(Profile, tmp_path / "p.yaml")
    assert (found.tier, found.node, found.model) == (Tier.EDGE, "here", "conv-net")
    assert len(found.segments) > 4
    assert any(span.fitted and span.sessions == 1 for span in found.spans)
    assert any(not span.fitted for span in found.spans)
    assert found.slices
    graph = OnnxGraph(store.model_bytes(store.card("conv-net")))
    times_ms = operation_times_ms(found, graph)
    assert times_ms.sum() == pytest.approx(sum(segment.kernel_ms for segment in found.segments))
    assert (times_ms > 0).all()


def test_json_is_the_document_on_stdout_and_in_a_json_file(quick: list[str], tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    done = CliRunner().invoke(profile, ["conv-net", *quick, "--out", str(path), "--json"], catch_exceptions=False)
    assert Profile.model_validate_json(done.stdout) == Profile.model_validate_json(path.read_text())


def test_a_light_install_measures_a_cut_model(store: Store, quick: list[str]) -> None:
    ref = slice_for_profiling(store, "conv-net").fine.ref
    done = CliRunner().invoke(light.profile, [ref, *quick, "--json"], catch_exceptions=False)
    found = json.loads(done.stdout)
    assert found["cut"] == ref
    assert found["slices"] == []


def test_a_light_install_names_the_cut_models_there_are(store: Store, quick: list[str]) -> None:
    ref = slice_for_profiling(store, "conv-net").fine.ref
    with pytest.raises(NotFoundError, match=ref):
        CliRunner().invoke(light.profile, ["conv-net", *quick], catch_exceptions=False)


def test_open_sizes_are_measured_as_given(quick: list[str], tmp_path: Path) -> None:
    arguments = ["open-net", "--shape", "x=2x3x16x24", *quick]
    CliRunner().invoke(profile, arguments, catch_exceptions=False)
    assert read_document(Profile, tmp_path / "p.yaml").shapes == {"x": (2, 3, 16, 24)}


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (["nowhere"], NotFoundError, "tercet models fetch nowhere"),
        (["UPPER"], SpecError, "not allowed"),
        (["conv-net@0123456789ab"], NotFoundError, "tercet models slice conv-net"),
        (["open-net"], SpecError, "--shape x="),
        (["open-net", "--shape", "x=1x3"], SpecError, "declares"),
        (["open-net", "--shape", "x=1x3xa"], SettingsError, "expected INPUT="),
        (["conv-net", "--provider", "NoSuchProvider"], SpecError, "NoSuchProvider"),
        (["conv-net", "--node", "Not A Node"], SpecError, "node"),
    ],
)
def test_bad_input_gets_a_clear_word(
    quick: list[str], arguments: list[str], error: type[TercetError], says: str
) -> None:
    with pytest.raises(error, match=says):
        CliRunner().invoke(profile, [arguments[0], *quick, *arguments[1:]], catch_exceptions=False)


def test_a_file_that_cannot_be_written_is_said_before_measuring(store: Store, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    for out in (blocked / "under", tmp_path):
        with pytest.raises(SettingsError, match="cannot write"):
            CliRunner().invoke(profile, ["nowhere", "--out", str(out)], catch_exceptions=False)
