"""The only place that judges a bundle: standard library and `cryptography`, no Django, no database.

Read it in this order: layout (what a bundle is), opening, checks (the verdict), alignment (which
entry was touched), __main__ (the command line). It stands on audit.proofs and audit.checkpoints.
"""

from __future__ import annotations
