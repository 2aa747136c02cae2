"""Training of any network: settings, schedules, checkpoints, metrics and reports."""
