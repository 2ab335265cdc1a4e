"""The client: results of runs, found again."""
