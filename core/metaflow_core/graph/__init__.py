"""Flows as data: steps, transitions, parameters, lint and rendering."""
