"""The version of the artifact format."""

from __future__ import annotations

from typing import Any

from metaflow_core.errors import UnreadableArtifact

VERSION = 1


def check_version(version: Any) -> None:
    """``UnreadableArtifact`` unless this release reads ``version`` of the format."""
    if not isinstance(version, int) or version < 1:
        raise UnreadableArtifact("The artifact's stored data is damaged: it names no version of the artifact format.")
    if version > VERSION:
        raise UnreadableArtifact(
            f"The artifact is in version {version} of the artifact format, and this installation reads up to version "
            f"{VERSION}. Upgrade metaflow-tandem to read it."
        )
