"""Pictures as text: elements that escape what they hold, and the scales of axes. No plotting library."""
