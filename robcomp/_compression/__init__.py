"""Compression: the joint state of a weight, channels that go together, codebooks, selections, networks as they
enter."""
