"""Corruptions: compiled loops, random draws and constants, the weather, the frost pictures, the published arrays."""
