"""The only place that tests that exporter and verifier select the same entries."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audit import entries
from audit.entries import Draft, Stamp
from audit.events import Actor
from audit.ids import new_id
from audit.selections import EVERYTHING, Selection, SelectionMalformed
from audit.verify import headers, layout

ORIGIN = "ledger.test/acme"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SINCE_2000 = datetime(2000, 1, 1, tzinfo=UTC)
RUNS = st.sampled_from([UUID(int=1), UUID(int=2), UUID(int=2**128 - 1)])
KINDS = st.sampled_from(["run.started", "run.held", "runs", "run", "effect.begun", "a.b_c"])
BEGINNINGS = KINDS | st.sampled_from(["run.", "r", "effect.", "x", "_", "", "%", "run._eld", "é"])
ACTORS = st.sampled_from(["robo", "Robo", 'a"b', "back\\slash", "größe", "", "\u00a0"])
ZONES = st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours)))
# Close to each other, so that the bounds are met; and any that a header can hold.
MOMENTS = st.one_of(
    st.integers(-2, 2).map(lambda n: NOON + timedelta(microseconds=n)),
    st.integers(-2, 2).map(lambda n: NOON + timedelta(seconds=n)),
    st.integers(0, 31_000_000_000).map(lambda n: SINCE_2000 + timedelta(seconds=n)),
)
# Bounds come from callers, in their own time zone.
BOUNDS = st.builds(lambda moment, zone: moment.astimezone(zone), MOMENTS, ZONES)
FILTERS = st.builds(
    Selection,
    kind=st.none() | BEGINNINGS,
    actor=st.none() | ACTORS,
    correlation=st.none() | RUNS,
    after=st.none() | BOUNDS,
    before=st.none() | BOUNDS,
)


def _header(kind: str, actor: str, run: UUID | None, recorded_at: datetime) -> headers.Header:
    made = Draft(new_id(), kind, run, Actor("agent", actor), None, b'{"kind":"other"}')
    stamp = Stamp(NOON, recorded_at, None if run is None else 0, None)
    line = entries.leaf_bytes(made, stamp, origin=ORIGIN)
    match = headers.matcher(ORIGIN)(line)
    assert match is not None, line
    return headers.Header(0, line, match.groups())


@given(wanted=FILTERS, kind=KINDS, actor=ACTORS, run=st.none() | RUNS, recorded_at=MOMENTS)
@example(EVERYTHING, "run", "robo", None, NOON)
@example(Selection(after=NOON, before=NOON), "run", "robo", None, NOON)
def test_exporter_and_verifier_select_alike(wanted, kind, actor, run, recorded_at):
    fits = wanted.fits(kind=kind, actor=actor, correlation=run, recorded_at=recorded_at)
    shown = json.loads(json.dumps(wanted.as_json()))
    assert layout.selector(shown)(_header(kind, actor, run, recorded_at)) == fits


@given(wanted=FILTERS)
def test_every_filter_is_one_that_the_verifier_takes(wanted):
    assert layout._is_filter(wanted.as_json())


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, True),
        ({"kind": "run."}, True),
        ({"kind": "run.st"}, False),
        ({"kind": "held"}, False),
        ({"actor": "robo"}, True),
        ({"actor": "rob"}, False),
        ({"correlation": UUID(int=1)}, True),
        ({"correlation": UUID(int=2)}, False),
        ({"after": NOON}, True),
        ({"after": NOON + timedelta(microseconds=1)}, False),
        ({"before": NOON}, False),
        ({"before": NOON + timedelta(microseconds=1)}, True),
        ({"kind": "run.", "actor": "robo", "after": NOON, "before": NOON}, False),
    ],
)
def test_an_entry_is_selected_if_it_fits_all_that_is_given(wanted, expected):
    entry = {"kind": "run.held", "actor": "robo", "correlation": UUID(int=1), "recorded_at": NOON}
    assert Selection(**wanted).fits(**entry) is expected


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1999, 12, 31, 23, tzinfo=UTC),
        datetime(3000, 1, 1, tzinfo=UTC),
        datetime(2000, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))),
    ],
)
@pytest.mark.parametrize("name", ["after", "before"])
def test_a_time_that_no_entry_can_be_of_is_refused(name: str, moment: datetime):
    with pytest.raises(SelectionMalformed, match=name):
        Selection(**{name: moment})


@pytest.mark.parametrize(
    "moment", [SINCE_2000, datetime(2999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)]
)
def test_the_first_and_the_last_time_are_taken(moment: datetime):
    assert layout._is_filter(Selection(after=moment, before=moment).as_json())
