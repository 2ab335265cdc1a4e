"""Values without a neutral form: pickled, under the name of their language and codec."""

from __future__ import annotations

import re
from typing import Any

from metaflow_core import settings
from metaflow_core.errors import MetaflowException, UnreadableArtifact
from metaflow_core.values import registry, trust
from metaflow_core.values.node import Node
from metaflow_core.values.registry import FromTree, Unstorable
from metaflow_core.values.typename import type_name

CODEC = "cloudpickle"


class OpaqueValue:
    """A value that only another language can use. Storing it again stores the same bytes.

    ``language`` wrote it, ``type`` names its class there, ``summary`` describes it in a few words, ``codec`` names the
    form of the bytes in ``payload``.
    """

    __slots__ = ("codec", "language", "payload", "summary", "type")

    def __init__(self, language: str, codec: str, type: str, summary: str, payload: bytes) -> None:
        self.language, self.codec, self.type, self.summary, self.payload = language, codec, type, summary, payload

    def load(self) -> Any:
        """The object itself, for use in Python: an R object is one of ``rpy2.robjects``.

        ``UnreadableArtifact`` when its language is not at hand here, or the object can't be loaded there.
        """
        check_allowed(self.language, self.type, read=True)
        codec = registry.codec_of_language(self.language)
        if codec is None:
            name = _spelt(self.language)
            raise UnreadableArtifact(
                f"This {self.type} was written in {name} and only {name} can load it, which is not at hand here."
            )
        try:
            value = codec.from_tree(self.node(), lambda tree: codec.from_tree(tree, self._no_parts))
        except UnreadableArtifact:
            raise
        except MetaflowException as error:
            raise UnreadableArtifact(
                f"This {self.type} was written in {_spelt(self.language)}, which loads it. {error}"
            ) from error
        for_python = getattr(codec, "for_python", None)
        return value if for_python is None else for_python(value)

    def node(self) -> Node:
        return _node(self.language, self.codec, self.type, self.summary, self.payload)

    def _no_parts(self, tree: object) -> Any:
        raise UnreadableArtifact(f"This {self.type} is damaged: an opaque value has no parts.")

    def __repr__(self) -> str:
        return f"<{self.type} written in {_spelt(self.language)}{': ' if self.summary else ''}{self.summary}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OpaqueValue):
            return NotImplemented
        return (self.language, self.codec, self.payload) == (other.language, other.codec, other.payload)

    def __hash__(self) -> int:
        return hash(self.payload)


def _spelt(language: str) -> str:
    """The name of a language, as people write it."""
    return {"r": "R", "python": "Python"}.get(language, language)


def to_node(value: Any) -> Node:
    """``value`` pickled. ``Unstorable`` leads to the part that can't be pickled."""
    if isinstance(value, OpaqueValue):
        return value.node()
    import cloudpickle

    try:
        payload = cloudpickle.dumps(value, protocol=5)
    except Exception as error:
        if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
            raise Unstorable(type_name(type(value)), "it is nested too deeply") from error
        from metaflow_core.values.culprit import find

        path, part = find(value)
        raise Unstorable(type_name(type(part)), _one_line(error), path) from error
    return _node("python", CODEC, type_name(type(value)), summarize(value), payload)


def _node(language: str, codec: str, type: str, summary: str, payload: bytes) -> Node:
    # The summary is no part of the value: equal values may describe themselves differently.
    return Node(
        "opaque",
        value=payload,
        attrs={"language": language, "codec": codec, "type": type},
        layout={"summary": summary},
    )


def from_tree(tree: Node, read: FromTree) -> Any:
    """The object in Python if Python wrote it, else an :class:`OpaqueValue`."""
    language, codec, type = (str(tree.attrs[name]) for name in ("language", "codec", "type"))
    payload = tree.value if isinstance(tree.value, bytes) else bytes(read(tree.value))
    check_allowed(language, type)
    if language != "python":
        return OpaqueValue(language, codec, type, str(tree.layout.get("summary", "")), payload)
    if codec != CODEC:
        raise UnreadableArtifact(
            f"This {type} is stored by the codec {codec!r}, which is not known here. Upgrade metaflow-tandem."
        )
    import pickle

    try:
        return pickle.loads(payload)
    except Exception as error:
        raise UnreadableArtifact(
            f"This {type} can't be loaded: {_one_line(error)}. It is a pickled Python object: the modules it was made "
            f"with must be installed, in a version that still fits it."
        ) from error


def to_tree(value: Any, write: registry.ToTree) -> Node:
    return to_node(value)


def check_allowed(language: str, type: str, read: bool = False) -> None:
    """``UnreadableArtifact`` when opaque values are refused by the setting.

    One that was ``read`` already has been found to be one's own, where that counts.
    """
    setting = settings.get("OPAQUE_ARTIFACTS")
    stranger = trust.stranger() if setting == "own" and not read else None
    if setting != "refuse" and stranger is None:
        return
    whose = f" for runs of others, and this one is of {stranger}" if stranger else ""
    raise UnreadableArtifact(
        f"The artifact holds an opaque value ({type}, written in {_spelt(language)}), and loading it could execute "
        f"code. METAFLOW_OPAQUE_ARTIFACTS={setting} forbids that{whose}; "
        f"{'set it to allow' if stranger else 'unset it'} if you trust whoever wrote the artifact."
    )


def summarize(value: Any) -> str:
    """A few words about ``value``: the start of its ``repr``, without addresses."""
    try:
        text = repr(value)
    except Exception:
        return type_name(type(value))
    text = " ".join(re.sub(r" at 0x[0-9a-fA-F]+", "", text).split())
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= 120 else text[:117] + "..."


def _one_line(error: BaseException) -> str:
    kind = "" if isinstance(error, MetaflowException) else f"{type(error).__name__}: "
    return f"{kind}{' '.join(str(error).split())}".rstrip(".")
