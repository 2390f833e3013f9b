"""What else could have been had: baselines, curves, fronts, maps."""
