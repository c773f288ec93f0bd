"""Decides whether an intent may take effect: intents, policies, decisions, permits, approvals."""

from __future__ import annotations
