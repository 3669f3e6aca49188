"""The built-in trainer, as pure functions over tensors: everything follows from the rows, the settings and a seed."""
