"""Names in Argo Workflows that are unique whatever a flow and its steps are called.

Kubernetes takes at most 63 characters for the name of a workflow, which is a label of its pods. A schedule adds 11 to
its own name, so that names of deployments have at most 52.
"""

from __future__ import annotations

import hashlib
import re

LONGEST = 52
_LONGEST_STEP = 60
# Words of the expressions in which Argo has names of tasks.
_WORDS = {"and", "or", "not", "in", "true", "false", "nil", "let", "if", "else", "matches", "contains"}
_WORDS |= {"startsWith", "endsWith"}


def deployment_name(name: str) -> str:
    """The name of everything that is deployed for ``name``.

    >>> deployment_name("example_project.user.anne.TrainFlow")
    'example-project-user-anne-trainflow-2e56a9373d'
    >>> deployment_name("HelloFlow") == deployment_name("helloFlow"), len(deployment_name("F" * 300))
    (False, 52)
    """
    unique = _hash(name, 10)
    start = re.sub(r"[^a-z0-9]+", "-", name.lower())[: LONGEST - 1 - len(unique)].strip("-")
    return f"{start or 'flow'}-{unique}"


class Names:
    """Hands out names of tasks, templates and parameters: letters, digits and dashes, a letter first."""

    def __init__(self) -> None:
        self._taken = set(_WORDS)
        self._given: dict[tuple[str, ...], str] = {}

    def of(self, text: str, *prefixes: str) -> str:
        """The same name for the same texts, and another one for any other.

        >>> names = Names()
        >>> names.of("fit_all"), names.of("fit_all", "each"), names.of("fit__all"), names.of("größe")
        ('fit-all', 'each-fit-all', 'fit--all', 'gr-e-d353a267')
        >>> names.of("not").startswith("not-")
        True
        """
        key = (*prefixes, text)
        if key not in self._given:
            plain = text.replace("_", "-")
            if not re.fullmatch(r"[A-Za-z]([-A-Za-z0-9]*[A-Za-z0-9])?", plain) or len(plain) > _LONGEST_STEP:
                start = re.sub(r"[^A-Za-z0-9]+", "-", text)[:40].strip("-")
                plain = "-".join([*([start] if start[:1].isalpha() else ["n"]), _hash(text, 8)])
            name = "-".join([*prefixes, plain])
            while name in self._taken:
                name = f"{name}-{_hash(' '.join(key) + name, 8)}"
            self._taken.add(name)
            self._given[key] = name
        return self._given[key]


def _hash(text: str, length: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]
