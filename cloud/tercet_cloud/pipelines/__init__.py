"""Pipelines that Tercet ships: documents (`NAME.yaml`) and the steps they are made of, one package a pipeline."""
