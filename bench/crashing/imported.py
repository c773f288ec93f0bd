"""The only place that imports what the sequencer's process needs, for those that are forked."""

from __future__ import annotations

import django

django.setup()

import audit.management.commands.run_sequencer  # noqa: E402, F401
import countersign.urls  # noqa: E402, F401
