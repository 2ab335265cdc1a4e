"""A contract for import-linter that the tool lacks: a package may import only what is listed."""

from __future__ import annotations

from fnmatch import fnmatchcase

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class PositiveList(Contract):
    """Of ``of_packages``, modules in ``source_packages`` import only what matches a pattern in ``allowed_modules``."""

    source_packages = fields.ListField(subfield=fields.StringField())
    of_packages = fields.ListField(subfield=fields.StringField())
    allowed_modules = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        output.verbose_print(verbose, f"Imports of {', '.join(self.source_packages)}")
        sources = {m for p in self.source_packages for m in {p, *graph.find_descendants(p)}}
        broken = [
            (importer, imported)
            for importer in sorted(sources)
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if imported.split(".")[0] in self.of_packages
            and not any(fnmatchcase(imported, pattern) for pattern in self.allowed_modules)
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for importer, imported in check.metadata["broken"]:
            output.print_error(f"{importer} imports {imported}, which is not in allowed_modules.")
