"""Fixtures that every suite may use."""

from support.stores import lite2_store, model_store, packaged_store

__all__ = ["lite2_store", "model_store", "packaged_store"]
