"""What an operator states and what was measured, made into costs of candidate plans."""
