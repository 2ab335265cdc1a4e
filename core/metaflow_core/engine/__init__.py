"""Runs a flow: scheduling, processes, tasks, logs and resume."""
