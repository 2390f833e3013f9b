"""`tercet bench dag`: pipelines against their goals, beside bare Ray tasks in the same run."""
