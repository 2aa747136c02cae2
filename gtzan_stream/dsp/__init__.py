"""Pure functions of tensors: each has a plain torch version and picks a faster kernel in one place, `backend.py`."""
