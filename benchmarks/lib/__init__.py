"""Code that the benchmark programs share."""
