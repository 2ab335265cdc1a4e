"""Artifacts that version 1 of the format wrote stay readable in Python and keep their fingerprints.

``check_table.py --freeze`` writes new fixtures; ``test_values_across.py`` reads them all in R.
"""

from __future__ import annotations

import warnings

import fixtures
import pytest
import python_names
from metaflow_core.values import decode, encode
from same import same

WRITTEN = {
    language: [name for name, facts in fixtures.INDEX.items() if facts["language"] == language]
    for language in ("python", "r")
}


def test_every_value_has_its_fixture() -> None:
    assert set(fixtures.INDEX) == {*fixtures.python_values(), *fixtures.r_rows()}
    for name in WRITTEN["r"]:
        assert fixtures.INDEX[name]["source"] == fixtures.r_rows()[name].source


@pytest.mark.parametrize("name", WRITTEN["python"])
def test_a_frozen_artifact_reads_as_it_was(name: str) -> None:
    assert same(decode(fixtures.frozen(name)), fixtures.python_values()[name])


@pytest.mark.parametrize("name", WRITTEN["python"])
def test_a_value_keeps_its_fingerprint(name: str) -> None:
    fingerprint = fixtures.INDEX[name]["fingerprint"]
    assert encode(fixtures.python_values()[name]).fingerprint == fingerprint
    assert encode(decode(fixtures.frozen(name))).fingerprint == fingerprint


@pytest.mark.parametrize("name", WRITTEN["r"])
def test_an_artifact_that_r_has_frozen_reads_natively(name: str) -> None:
    row = fixtures.r_rows()[name]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        value = decode(fixtures.frozen(name))
    expected = python_names.evaluate(row.other)
    assert same(value, expected), value
    assert bool(told) == bool(row.warns)
    if row.equal:
        assert encode(expected).fingerprint == fixtures.INDEX[name]["fingerprint"]
