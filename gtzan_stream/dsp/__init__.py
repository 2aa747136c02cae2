"""Signal processing: pure functions of tensors, each in plain torch and with faster kernels that `backend` chooses."""
