"""The only place that judges a bundle: standard library and `cryptography`, no Django, no database.

Read it in this order: layout (what a bundle is), report (what can be found), opening, headers (what
an entry is), checks (the order of the work), then one room for each question:
files (is everything as listed), signing (who signed), tree (do the hashes add up), continuing (is
it what was seen before), entries (the one loop over them), alignment (which one was touched), runs
(is one missing), silences (was nothing recorded for long), effects and approvals (was it decided,
approved, and only then done), bodies (do the private parts open), timestamps. It stands on
audit.proofs, audit.tiles and audit.checkpoints.
"""

from __future__ import annotations
