"""The only place that tells the console's tests where their fixtures are."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from acme_house import house, mallory, now, refund_held

__all__ = ["house", "mallory", "now", "refund_held"]
