"""The only place for how server-sent events are read."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.providers.openai.event_stream import EventStream, EventTooLong

STREAM = (
    "data: one\r\n\r\n: note\ndata: tw\u00f6\ndata:lines\n\nid: 7\ndata: three\r\rdata\n\n".encode()
)
EVENTS = [b"one", "tw\u00f6\nlines".encode(), b"three", b""]


def read(*chunks: bytes, limit: int = 1_000) -> list[bytes]:
    events = EventStream(limit=limit)
    return [event for chunk in chunks for event in events.feed(chunk)]


@given(st.lists(st.integers(min_value=0, max_value=len(STREAM)), max_size=20))
def test_events_are_the_same_wherever_the_bytes_are_split(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[a:b] for a, b in pairwise(edges)]
    assert read(*chunks) == EVENTS


def test_a_byte_order_mark_is_no_part_of_the_first_field() -> None:
    assert read(b"\xef\xbb\xbfdata: x\n\n") == [b"x"]


def test_an_event_without_its_blank_line_is_none() -> None:
    assert read(b"data: one\n\ndata: tw") == [b"one"]


def test_comments_alone_make_no_event() -> None:
    assert read(b": ping\n\n: ping\n\n") == []


def test_one_space_after_the_colon_is_dropped_and_no_more() -> None:
    assert read(b"data:  x\n\n") == [b" x"]


@pytest.mark.parametrize("chunk", [b"data: " + b"x" * 200, b"x" * 101, b"data: xxxxx\n" * 20])
def test_an_event_beyond_the_limit_is_refused(chunk: bytes) -> None:
    with pytest.raises(EventTooLong):
        read(*(chunk[i : i + 10] for i in range(0, len(chunk), 10)), limit=100)


def test_the_limit_is_for_an_event_and_not_for_the_stream() -> None:
    assert len(read(*[b"data: 123456789\n\n"] * 50, limit=100)) == 50
