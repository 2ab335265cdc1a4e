"""The Python skin: Metaflow's public API over the language-neutral core."""
