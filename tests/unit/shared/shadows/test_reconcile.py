"""The newest desired state wins by version, whatever order they come in."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.identifiers import ModelRef
from tercet.plans import Deployment, Plan
from tercet.shadows.documents import Desired
from tercet.shadows.reconcile import Standing, decide


def desired(version: int, model: str = "tiny@0123456789ab") -> Desired:
    plan = Plan(id="raw", device_until=1, edge_until=2)
    return Desired(version=version, deployments=(Deployment(model=ModelRef(model), plans=(plan,)),))


def key(one: Desired) -> tuple[int, str]:
    return one.version, one.digest


def test_the_first_one_is_tried() -> None:
    assert decide(desired(1), Standing()) == "try"


@pytest.mark.parametrize(("version", "decision"), [(4, "keep"), (5, "keep"), (6, "try")])
def test_newer_is_tried_older_and_equal_are_not(version: int, decision: str) -> None:
    assert decide(desired(version), Standing(applied=key(desired(5)))) == decision


def test_two_of_one_version_contradict_each_other_and_the_first_stays() -> None:
    assert decide(desired(5, "other@0123456789ab"), Standing(applied=key(desired(5)))) == "contradiction"


def test_what_was_refused_is_not_tried_again_as_it_was_but_mended_or_newer_it_is() -> None:
    standing = Standing(applied=key(desired(5)), refused=key(desired(7)))
    assert decide(desired(7), standing) == "refused-before"
    assert decide(desired(6), standing) == "keep"
    assert decide(desired(7, "mended@0123456789ab"), standing) == "try"
    assert decide(desired(8), standing) == "try"


@given(st.permutations(range(1, 6)), st.sets(st.integers(1, 5)))
def test_in_any_order_the_newest_that_can_be_served_is_served_in_the_end(
    order: list[int], impossible: set[int]
) -> None:
    standing = Standing()
    # Each comes again, as at every connection.
    for version in itertools.chain(order, [max(order)]):
        one = desired(version)
        if decide(one, standing) == "try":
            if version in impossible:
                standing = Standing(standing.applied, refused=key(one))
            else:
                standing = Standing(applied=key(one))
    newest = max(order)
    if newest not in impossible:
        assert standing.applied is not None
        assert standing.applied[0] == newest
    if standing.applied is not None:
        assert standing.applied[0] not in impossible
