"""What a step of a pipeline is on any tier: types of values, references to them, conditions, built-in functions.

Imports nothing heavy, so that every tier can run a step. What orders steps lies in the cloud (`tercet_cloud.dag`).
"""
