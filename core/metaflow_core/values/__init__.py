"""The artifact codec: values to Arrow and back, and fingerprints."""
