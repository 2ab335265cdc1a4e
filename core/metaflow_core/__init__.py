"""The language-neutral core: flows, values, stores, metadata, results and the engine."""

__version__ = "0.1.0"
