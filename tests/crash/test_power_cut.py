"""A short part of the power-cut test; the whole is `python -m crash.power_cut`."""

from pathlib import Path

import pytest

from crash.power_cut import JOURNAL, cut_everywhere, main
from crash.write_log import build_recorder, compiler

CUTS = 150


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if compiler() is None:
        pytest.skip("no C compiler (cc) on this machine to build the recorder with")
    return build_recorder(tmp_path_factory.mktemp("recorder"))


@pytest.mark.parametrize("seed", [101, 102])
def test_a_power_cut_costs_nothing_that_was_acknowledged(recorder: Path, seed: int) -> None:
    outcome = cut_everywhere(JOURNAL, seed, recorder, most_cuts=CUTS)
    assert outcome.broken == []
    assert outcome.cuts == CUTS
    assert outcome.acknowledgements > 50
    assert outcome.syncs > 50


def test_without_syncs_the_same_cuts_find_what_is_lost(recorder: Path) -> None:
    """Else the test would prove nothing."""
    outcome = cut_everywhere(JOURNAL, 101, recorder, most_cuts=CUTS, options=["unsynced"], stop_at_first=True)
    assert outcome.broken


def test_the_command_tells_by_its_status_whether_a_promise_was_broken(
    recorder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--seeds", "1", "--cuts", "5"]) == 0
    assert "broken promises 0" in capsys.readouterr().out
    assert main(["--seeds", "1", "--cuts", "20", "--option", "unsynced"]) == 1
    assert "seed 1, event" in capsys.readouterr().out
