"""The only place that tells the console's tests where their fixtures are."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from acme_house import handbook_ready, house, mallory, now, refund_held, three_runs

__all__ = ["handbook_ready", "house", "mallory", "now", "refund_held", "three_runs"]
