"""What connects flows with other systems."""

from metaflow_core.deployment.argo_events import ArgoEvent
from metaflow_core.deployment.publish import publish_event

__all__ = ["ArgoEvent", "publish_event"]
