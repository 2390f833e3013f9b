"""Pipelines: graphs of models and steps over the tiers, scheduled on Ray. `spec` says what a pipeline is."""
