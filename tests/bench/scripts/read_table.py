from metaflow import Flow

table = Flow("TableFlow").latest_run["start"].task.data.table
assert table.shape == (336_776, 19) and abs(table["arr_delay"].mean() - 6.895) < 0.001
