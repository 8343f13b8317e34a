"""Corruptions: the compiled loops, their random draws and constants, the weather, the frost pictures, the published arrays."""
