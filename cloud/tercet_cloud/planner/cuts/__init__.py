"""Networks as operations and tensors, and the exact best cut under linear costs."""
