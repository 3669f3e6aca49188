"""Readers of data formats; the parts that open files run in a sandboxed child."""
