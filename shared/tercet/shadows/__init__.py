"""What an operator wants of a node, what the node says it runs, and how the one becomes the other."""
