"""What connects flows with other systems."""

from metaflow_core.deployment.argo_events import ArgoEvent

__all__ = ["ArgoEvent"]
