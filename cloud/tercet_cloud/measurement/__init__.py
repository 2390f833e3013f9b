"""What planner, benches and demo measure with: sample photos, split runs, agreement, importance, intervals."""
