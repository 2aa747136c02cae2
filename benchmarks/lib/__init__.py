"""What the benchmark programs share. Nothing here imports a program."""
