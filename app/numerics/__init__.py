"""Pure functions over tensors: the methods, each with its source; imports nothing of ours."""
