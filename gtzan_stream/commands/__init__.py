"""The commands of `gtzan-stream`, by what they are about."""
