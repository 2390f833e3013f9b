from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tercet_cloud.results.key_ranges import KeyRange, merged

ranges = st.lists(
    st.builds(
        lambda node, first, length: KeyRange(node, first, first + length),
        st.sampled_from("ab"),
        st.integers(1, 60),
        st.integers(0, 8),
    ),
    max_size=12,
)


def keys(of: list[KeyRange]) -> set[tuple[str, int]]:
    return {(one.node, number) for one in of for number in range(one.first, one.last + 1)}


@given(ranges)
def test_merged_ranges_have_the_same_keys_and_could_not_be_fewer(given_ranges: list[KeyRange]) -> None:
    result = merged(given_ranges)
    assert keys(result) == keys(given_ranges)
    assert result == sorted(result)
    for before, after in pairwise(result):
        assert before.node != after.node or before.last + 1 < after.first


def test_a_device_that_counted_on_is_one_range() -> None:
    assert merged(KeyRange("cam-1", number, number) for number in (3, 1, 2)) == [KeyRange("cam-1", 1, 3)]
