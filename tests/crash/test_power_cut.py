"""A short part of the power-cut test; the whole is `python -m crash.power_cut`."""

from pathlib import Path

import pytest

from crash.power_cut import JOURNAL, cut_everywhere, main
from crash.write_log import build_recorder, compiler

CUTS = 120


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if compiler() is None:
        pytest.skip("no C compiler (cc) on this machine to build the recorder with")
    return build_recorder(tmp_path_factory.mktemp("recorder"))


def test_a_power_cut_costs_nothing_that_was_acknowledged(recorder: Path) -> None:
    outcome = cut_everywhere(JOURNAL, 101, recorder, most_cuts=CUTS)
    assert outcome.broken == []
    assert outcome.cuts == CUTS
    assert outcome.acknowledgements > 50
    assert outcome.syncs > 50


def test_the_command_tells_by_its_status_that_no_promise_was_broken(
    recorder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--seeds", "1", "--first-seed", "102", "--cuts", str(CUTS)]) == 0
    assert f"cuts {CUTS}  broken promises 0" in capsys.readouterr().out


def test_without_syncs_it_finds_what_is_lost(recorder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else the test would prove nothing."""
    assert main(["--seeds", "1", "--first-seed", "101", "--cuts", "15", "--option", "unsynced"]) == 1
    assert "seed 101, event" in capsys.readouterr().out
