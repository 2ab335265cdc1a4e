"""R's ``argo_event()`` starts flows on the test's Argo, and says so when it can't."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fake_argo import ArgoCluster

FLOW = """
    library(metaflow)
    metaflow("WaitingFlow", trigger(event = list(name = "data_updated", parameters = list(alpha = "rows")))) |>
      parameter("alpha", default = 1) |>
      step(step = "start", next_step = "end") |>
      step(step = "end") |>
      run()
    """


def test_an_event_starts_a_flow_on_argo(
    run_r: Any, argo_api: ArgoCluster, team_database: str, s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("METAFLOW_METADATA_URL", team_database)
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", s3)
    run_r(FLOW, "argo-workflows", "create")
    told = run_r(
        """
        library(metaflow)
        event <- argo_event("data_updated", payload = list(table = "sales"))
        event
        cat("safe:", is.null(event$safe_publish()), "\\n")
        id <- event$add_to_payload("rows", 100L)$publish(list(all = c(1, 2), none = NULL, more = list(a = "\u00e9")))
        cat("id:", id, "\\n")
        Sys.setenv(METAFLOW_DEPLOYMENT_ID = "7")
        cat("deployed:", nzchar(event$safe_publish()), "\\n")
        """,
        name="events.R",
    ).stdout
    assert "<event data_updated for Argo Events>" in told
    assert "safe: TRUE" in told and "deployed: TRUE" in told
    one, other = argo_api.objects["workflows"].values()
    first, second = (
        {given["name"]: given["value"] for given in workflow["spec"]["arguments"]["parameters"]}
        for workflow in (one, other)
    )
    [event] = json.loads(first["metaflow-trigger"])
    assert event["payload"] == {"table": "sales", "rows": 100, "all": [1, 2], "none": None, "more": {"a": "é"}}
    assert event["id"] == re.search("id: (.*) ", told)[1] and event["time"] > 1_700_000_000_000_000  # type: ignore[index]
    assert json.loads(second["metaflow-trigger"])[0]["payload"] == {"table": "sales"}


def test_an_event_that_can_not_be_sent(run_r: Any) -> None:
    told = run_r(
        """
        library(metaflow)
        tell <- function(call) tryCatch({ call; cat("no error\\n") }, warning = function(e) {
          cat("warning", conditionMessage(e), "\\n")
        }, metaflow_error = function(e) cat(class(e)[[1]], conditionMessage(e), "\\n"))
        tell(argo_event("e")$publish())
        tell(argo_event("e")$publish(ignore_errors = FALSE))
        tell(argo_event("e", url = "file:///etc/passwd")$publish(ignore_errors = FALSE))
        tell(argo_event("e", url = 5))
        tell(argo_event())
        tell(argo_event("e", payload = list(1)))
        tell(argo_event("e")$publish(list(1)))
        tell(argo_event("e", url = "http://127.0.0.1:1")$publish(list(x = NaN), ignore_errors = FALSE))
        tell(argo_event("e")$pubilsh())
        tell(argo_event("e")$safe_publish())
        """,
        name="events.R",
    ).stdout.splitlines()
    said = (
        "warning MetaflowException: The event 'e' was not published: it is not known where Argo Events listens.",
        "metaflow_error MetaflowException: The event 'e' was not published: it is not known where Argo Events listens.",
        "metaflow_error MetaflowException: The event 'e' was not published: file:///etc/passwd is no address",
        "metaflow_invalid_argument `url` and `access_token` of an event are texts.",
        "metaflow_invalid_argument An event is named by one text.",
        "metaflow_invalid_argument The payload of an event is a named list: list(rows = 100).",
        "metaflow_invalid_argument The payload of an event is a named list: list(rows = 100).",
        "metaflow_error MetaflowException: The event 'e' was not published: its payload can't be written as JSON",
        "metaflow_unknown_member An event for Argo Events has no `pubilsh`. Did you mean `publish`?",
        "no error",
    )
    assert len(told) == len(said), told
    for line, start in zip(told, said, strict=True):
        assert line.startswith(start), told
