"""`python tests/bench/bench_teams.py [store] [small] [dask]`: what a team's places cost, beside the libraries alone.

Starts the servers that the tests use: SeaweedFS, PostgreSQL, Dask. Every ratio comes from one run of both.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "servers"))

from dask_cluster import DaskCluster  # noqa: E402
from object_stores import ObjectStore, seaweedfs_server  # noqa: E402
from postgresql_server import shared_server  # noqa: E402

GIGABYTE = 1 << 30
TASKS, TASK_SECONDS, WORKERS = 1000, 0.05, 2

RAW = """
import os, sys, time, numpy, s3fs
fs = s3fs.S3FileSystem(endpoint_url=os.environ["METAFLOW_S3_ENDPOINT_URL"])
data = numpy.random.default_rng(1).random({count})
fs.ls("test-bucket")
began = time.perf_counter()
fs.pipe_file(sys.argv[1], memoryview(data).cast("B").tobytes())
print(time.perf_counter() - began)
began = time.perf_counter()
numpy.frombuffer(fs.cat_file(sys.argv[1]))
print(time.perf_counter() - began)
"""
OURS = """
import os, sys, time, numpy
from metaflow_core.metadata.backend import open_backend
from metaflow_core.metadata.contents import storage_key
from metaflow_core.values import decode, encode
from metaflow_core.values.encoded import Stored
data = numpy.random.default_rng(1).random({count})
storage = open_backend().storage
storage.exists("data/x")
began = time.perf_counter()
value = encode(data)
key = storage_key(value.key)
storage.put(key, value.write)
print(time.perf_counter() - began)
storage._opened._cache.forget(key)
began = time.perf_counter()
read = lambda: storage.read(key)
decode(Stored(value.type, value.language, value.encoding, value.fingerprint, value.size, read=read)).sum()
print(time.perf_counter() - began)
"""
SMALL_RAW = """
import os, sys, time, s3fs
fs = s3fs.S3FileSystem(endpoint_url=os.environ["METAFLOW_S3_ENDPOINT_URL"])
fs.ls("test-bucket")
began = time.perf_counter()
for number in range(1000):
    fs.pipe_file(f"{sys.argv[1]}/{number}", os.urandom(10_000))
print(time.perf_counter() - began)
began = time.perf_counter()
for number in range(1000):
    fs.cat_file(f"{sys.argv[1]}/{number}")
print(time.perf_counter() - began)
"""
SMALL_OURS = """
import os, sys, time
from metaflow_core.metadata.backend import open_backend
storage = open_backend().storage
storage.exists("data/x")
keys = [f"data/{number}" for number in range(1000)]
began = time.perf_counter()
storage.put_all([(key, lambda file: file.write(os.urandom(10_000))) for key in keys])
print(time.perf_counter() - began)
for key in keys:
    storage._opened._cache.forget(key)
began = time.perf_counter()
storage.prefetch(keys)
for key in keys:
    storage.read(key)
print(time.perf_counter() - began)
"""
FLOW = """
import time
from metaflow import FlowSpec, dask, step

class NapFlow(FlowSpec):
    @step
    def start(self):
        self.items = list(range({tasks}))
        self.next(self.nap, foreach="items")

    @dask
    @step
    def nap(self):
        time.sleep({seconds})
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass

NapFlow()
"""
ALONE = """
import sys, time
from distributed import Client
client = Client(sys.argv[1])
client.gather(client.map(time.sleep, [0.05] * 20, pure=False))
began = time.perf_counter()
client.gather(client.map(time.sleep, [{seconds}] * {tasks}, pure=False))
print(time.perf_counter() - began)
"""


def numbers(code: str, *arguments: str) -> list[float]:
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(result.stderr)
    return [float(line) for line in result.stdout.split()]


def compare(title: str, raw: float, ours: float) -> None:
    print(f"| {title} | {raw:.2f} s | {ours:.2f} s | {raw / ours:.2f} |", flush=True)


def store(place: ObjectStore, raw: str, ours: str, titles: list[str], turns: int) -> None:
    best: list[list[float]] = [[], []]
    for _ in range(turns):
        for side, code in ((0, raw), (1, ours)):
            os.environ["METAFLOW_DEFAULT_DATASTORE"] = place.new_url()
            found = numbers(code, place.new_url().removeprefix("s3://"))
            best[side] = [min(pair) for pair in zip(best[side] or found, found, strict=True)]
    for title, alone, with_us in zip(titles, *best, strict=True):
        compare(title, alone, with_us)


def dask(place: ObjectStore, folder: Path, stack: ExitStack) -> None:
    cluster = DaskCluster(folder, stack)
    for _ in range(WORKERS):
        cluster.start_worker(1)
    alone = numbers(ALONE.format(seconds=TASK_SECONDS, tasks=TASKS), cluster.address)[0]
    server = stack.enter_context(shared_server(folder))
    url = stack.enter_context(server.database())
    (folder / "flow.py").write_text(FLOW.format(seconds=TASK_SECONDS, tasks=TASKS))
    environment = {
        **os.environ,
        "METAFLOW_METADATA_URL": url,
        "METAFLOW_DEFAULT_DATASTORE": place.new_url(),
        "METAFLOW_DASK_SCHEDULER": cluster.address,
    }
    began = time.perf_counter()
    command = [sys.executable, "flow.py", "run", "--max-num-splits", str(TASKS), "--max-workers", "16"]
    result = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(result.stdout[-3000:] + result.stderr)
    title = f"{TASKS} tasks of {TASK_SECONDS * 1000:g} ms on {WORKERS} workers, whole run"
    compare(title, alone, time.perf_counter() - began)


def main() -> None:
    chosen = sys.argv[1:] or ["store", "small", "dask"]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place = stack.enter_context(seaweedfs_server(folder / "seaweedfs"))
        os.environ.update(place.environment)
        os.environ.update({"METAFLOW_STORE_CACHE": str(folder / "cache"), "METAFLOW_USER": "bench"})
        print("| what | library alone | with metaflow | ratio |\n|---|---:|---:|---:|")
        if "store" in chosen:
            titles = ["1 GB of float64 to S3", "1 GB of float64 from S3"]
            raw, ours = (code.replace("{count}", str(GIGABYTE // 8)) for code in (RAW, OURS))
            store(place, raw, ours, titles, 2)
        if "small" in chosen:
            store(place, SMALL_RAW, SMALL_OURS, ["1,000 objects of 10 kB to S3", "1,000 objects of 10 kB from S3"], 2)
        if "dask" in chosen:
            (folder / "dask").mkdir()
            dask(place, folder / "dask", stack)


if __name__ == "__main__":
    main()
