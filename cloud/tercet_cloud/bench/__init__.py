"""`tercet bench`: the measurements behind the figures in docs/."""
