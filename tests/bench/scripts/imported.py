"""Prints which of the heavy modules `import metaflow` has brought along."""

import sys

import metaflow  # noqa: F401

heavy = ["numpy", "pandas", "pyarrow", "fsspec", "rich", "asyncio", "subprocess", "tempfile", "importlib.metadata"]
print(*[name for name in heavy if name in sys.modules])
