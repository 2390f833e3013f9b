"""Addresses of clouds, as a person gives them."""

from __future__ import annotations

import pytest

from tercet.errors import SettingsError
from tercet.settings import load_settings
from tercet_edge.settings import EdgeSettings


def addresses(*given: str) -> tuple[str, ...]:
    return load_settings(EdgeSettings, {"deployment": ("d.yaml",), "cloud_address": given}).cloud_address


def test_several_clouds_are_taken_in_order() -> None:
    assert addresses("a:1", "[::1]:2") == ("a:1", "[::1]:2")


def test_none_is_an_edge_without_a_cloud() -> None:
    assert addresses("none") == ()


def test_one_text_with_commas_names_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERCET_EDGE_CLOUD_ADDRESS", "a:1, b:2")
    assert load_settings(EdgeSettings, {"deployment": ("d.yaml",)}).cloud_address == ("a:1", "b:2")


@pytest.mark.parametrize("given", [("a",), ("a:x",), ("a:70000",), (":9000",), ("a:1", "a:1"), ("a:1", "none")])
def test_an_address_that_cannot_be_is_refused_by_the_settings_name(given: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError, match="--cloud-address"):
        addresses(*given)
