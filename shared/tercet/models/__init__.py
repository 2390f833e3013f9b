"""What a model is on every tier: its card, its segments (`manifest`), where they lie (`store`), its inputs."""
