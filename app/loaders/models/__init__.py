"""Readers of model formats; the parts that open files run in a sandboxed child."""
