"""What the type of a value is called, for people."""

from __future__ import annotations

# Packages that define their public types in private modules.
_PUBLIC_ROOTS = frozenset({"numpy", "pandas", "polars", "pyarrow", "pathlib"})


def type_name(cls: type) -> str:
    """``int``, ``pandas.DataFrame``, ``mymodule.Model``.

    >>> import decimal
    >>> type_name(decimal.Decimal)
    'decimal.Decimal'
    """
    module = cls.__module__
    if module == "builtins":
        return cls.__qualname__
    if module.startswith("scipy.sparse."):
        return f"scipy.sparse.{cls.__qualname__}"
    root = module.partition(".")[0]
    return f"{root if root in _PUBLIC_ROOTS else module}.{cls.__qualname__}"
