"""A policy that names what is not there is pointed at."""

from __future__ import annotations

from governance import mentions
from governance.policies import DEFAULT_POLICY

THERE = {"Agent": {"refund-desk"}, "Tool": {"refund_order"}}
TEXT = """// Agent::"in-a-comment"
@id("desk")
permit (principal == Agent::"refund-desk", action == Action::"invoke", resource == Tool::"gone")
unless { principal == Agent::"nobody" || resource == Route::"unasked" };
"""


def test_what_is_not_there_is_named_at_its_place() -> None:
    agent, tool = mentions.missing(TEXT, THERE)
    assert (agent.line, agent.column, agent.policy) == (4, 30, "desk")
    assert 'there is no Agent::"nobody"' in agent.message
    assert (tool.line, tool.column, tool.policy) == (3, 90, "desk")
    assert 'there is no Tool::"gone"' in tool.message


def test_what_is_there_is_not() -> None:
    assert mentions.missing(TEXT, {"Agent": {"refund-desk", "nobody"}, "Tool": {"gone"}}) == []
    assert mentions.missing(DEFAULT_POLICY, THERE) == []
    assert mentions.missing("", THERE) == []
