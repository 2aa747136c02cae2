"""What a run of training needs, whatever the network: its settings, schedule, checkpoints, measures and report."""
