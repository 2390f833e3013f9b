"""Models on the operator's side: export, admission, cutting, and the `tercet models` command."""
