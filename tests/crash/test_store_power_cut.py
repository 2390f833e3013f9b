"""A short part of the power-cut test of the result store; the whole is `make chaos`."""

from __future__ import annotations

from pathlib import Path

import pytest

from crash.power_cut import cut_everywhere
from crash.write_log import build_recorder, compiler

STORE = "crash.store_workload"


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if compiler() is None:
        pytest.skip("no C compiler (cc) on this machine to build the recorder with")
    return build_recorder(tmp_path_factory.mktemp("recorder"))


def test_a_power_cut_costs_no_result_that_was_stored(recorder: Path) -> None:
    outcome = cut_everywhere(STORE, 1, recorder, most_cuts=80)
    assert outcome.broken == []
    assert outcome.acknowledgements > 20
    assert outcome.syncs > 20


def test_without_syncs_it_finds_what_is_lost(recorder: Path) -> None:
    """Else the test would prove nothing."""
    assert cut_everywhere(STORE, 1, recorder, most_cuts=8, options=["unsynced"]).broken
