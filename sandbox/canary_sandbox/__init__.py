"""A whole cluster in one process tree, for the demo, for tests and for trying things by hand."""

__version__ = "0.1.0"
