"""Flows in production: what is deployed to an orchestrator, and what its tasks do."""
