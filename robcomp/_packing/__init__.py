"""Packed files: the container, its header, the two coders."""
