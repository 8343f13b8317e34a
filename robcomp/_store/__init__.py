"""The store: the files of finished trials, and a simulated study to learn with."""
