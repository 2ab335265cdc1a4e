"""The language-neutral core: flows, values, stores, metadata, results and the engine."""
