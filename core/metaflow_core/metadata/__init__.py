"""Runs, tasks, attempts and tags, in SQL."""
