"""Events: keys whose content changes, rules that make pipelines of changes, and results kept by content."""
