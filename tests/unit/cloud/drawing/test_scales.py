"""Axes: ends where they belong, ticks that are round and inside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet_cloud.drawing.scales import LinearScale, LogScale

SPANS = st.tuples(st.floats(1e-3, 1e6), st.floats(1.5, 1e6)).map(lambda pair: (pair[0], pair[0] * pair[1]))


@given(SPANS, st.sampled_from([LinearScale, LogScale]))
def test_ends_lie_at_the_ends_and_ticks_between(
    span: tuple[float, float], scale_type: type[LinearScale] | type[LogScale]
) -> None:
    scale = scale_type(*span, 100.0, 20.0)
    assert scale(span[0]) == pytest.approx(100.0)
    assert scale(span[1]) == pytest.approx(20.0)
    ticks = scale.ticks()
    assert all(19.9 <= scale(tick) <= 100.1 for tick in ticks)
    assert ticks == sorted(ticks)
    assert len(ticks) <= 12


@given(SPANS)
def test_a_linear_scale_has_a_few_ticks_whatever_its_span(span: tuple[float, float]) -> None:
    assert len(LinearScale(0, span[1], 0, 1).ticks()) >= 3


def test_a_scale_of_one_value_does_not_divide_by_nothing() -> None:
    assert LinearScale(3, 3, 5, 9)(3) == 5
    assert LogScale(3, 3, 5, 9)(3) == 5
    assert LinearScale(3, 3, 5, 9).ticks() == [3]
