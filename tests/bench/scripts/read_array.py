from metaflow import Flow

x = Flow("ArrayFlow").latest_run["start"].task.data.x
assert x.shape == (25_000_000,) and abs(x.sum() - Flow("ArrayFlow").latest_run.data.total) < 1e-6
