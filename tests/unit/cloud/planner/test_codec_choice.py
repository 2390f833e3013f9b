"""The cheapest codec within a budget, and the exact interval behind "at worst"."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.errors import SpecError
from tercet_cloud.measurement.binomial import clopper_pearson
from tercet_cloud.planner.searching.codec_choice import CodecPoint, choose_codec


def point(codec: str, size: float, agreement: float, *, low: float = 0.0, encode_us: float = 1.0) -> CodecPoint:
    return CodecPoint("mid", codec, size, agreement, low, encode_us, 1.0)


MENU = [point("raw", 100, 1, low=0.97), point("int8", 25, 0.99, low=0.95), point("int2", 6, 0.9, low=0.8)]


@pytest.mark.parametrize(("budget", "codec"), [(0, "raw"), (0.01, "int8"), (0.05, "int8"), (0.1, "int2")])
def test_the_fewest_bytes_within_the_budget_win(budget: float, codec: str) -> None:
    assert choose_codec(MENU, "mid", budget).codec == codec


def test_the_upper_bound_of_the_loss_is_stricter() -> None:
    assert choose_codec(MENU, "mid", 0.05, upper_bound=True).codec == "int8"
    assert choose_codec(MENU, "mid", 0.04, upper_bound=True).codec == "raw"


def test_equal_bytes_go_to_the_quicker_encoder() -> None:
    points = [point("a", 5, 1, encode_us=9), point("b", 5, 1, encode_us=3)]
    assert choose_codec(points, "mid", 0).codec == "b"


def test_a_budget_that_none_meets_names_the_smallest_loss() -> None:
    with pytest.raises(SpecError, match=r"within 0.001; the smallest is 0.0100, of int8"):
        choose_codec(MENU[1:], "mid", 0.001)
    with pytest.raises(SpecError, match=r"upper bound of the loss within 0.01; the smallest is 0.0300, of raw"):
        choose_codec(MENU, "mid", 0.01, upper_bound=True)


def test_a_boundary_that_was_not_measured_is_named_with_those_that_were() -> None:
    with pytest.raises(SpecError, match=r"'late' \(measured: mid\)"):
        choose_codec(MENU, "late", 0.5)


points = st.builds(
    CodecPoint,
    boundary=st.sampled_from(["mid", "late"]),
    codec=st.sampled_from("abcdef"),
    bytes_per_frame=st.integers(1, 6).map(float),
    agreement=st.integers(90, 100).map(lambda percent: percent / 100),
    agreement_low=st.integers(80, 90).map(lambda percent: percent / 100),
    encode_us=st.integers(1, 3).map(float),
    decode_us=st.integers(1, 3).map(float),
)


@given(menu=st.lists(points, max_size=12), percent=st.integers(0, 20), upper_bound=st.booleans())
def test_no_other_point_is_cheaper_and_good_enough(menu: list[CodecPoint], percent: int, upper_bound: bool) -> None:
    def fits(candidate: CodecPoint) -> bool:
        kept = candidate.agreement_low if upper_bound else candidate.agreement
        return candidate.boundary == "mid" and round(100 * (1 - kept)) <= percent

    fitting = [candidate for candidate in menu if fits(candidate)]
    if not fitting:
        with pytest.raises(SpecError):
            choose_codec(menu, "mid", percent / 100, upper_bound=upper_bound)
        return
    chosen = choose_codec(menu, "mid", percent / 100, upper_bound=upper_bound)
    assert fits(chosen)
    for other in fitting:
        assert (chosen.bytes_per_frame, chosen.encode_us) <= (other.bytes_per_frame, other.encode_us)


@given(trials=st.integers(1, 60), data=st.data())
def test_the_interval_is_the_one_of_clopper_and_pearson(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    low, high = clopper_pearson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1

    def at_least(rate: float) -> float:
        counts = range(successes, trials + 1)
        return sum(comb(trials, n) * rate**n * (1 - rate) ** (trials - n) for n in counts)

    def at_most(rate: float) -> float:
        counts = range(successes + 1)
        return sum(comb(trials, n) * rate**n * (1 - rate) ** (trials - n) for n in counts)

    if successes:
        assert at_least(low) == pytest.approx(0.025, abs=1e-6)
    if successes < trials:
        assert at_most(high) == pytest.approx(0.025, abs=1e-6)


def test_known_intervals() -> None:
    assert clopper_pearson(0, 120) == (0.0, pytest.approx(0.03027, abs=1e-5))
    assert clopper_pearson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="no such interval"):
        clopper_pearson(3, 2)
