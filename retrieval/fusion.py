"""The only place that makes one ranking of several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

K = 10
"""How fast a place loses weight. 60 is usual for long lists of many systems; of two short ones the
first places should count more."""


def fuse(*rankings: Sequence[UUID], k: int = K) -> list[tuple[UUID, float]]:
    """Ids with their scores, best first: the sum of 1/(k + rank) over the rankings that have it.

    Reciprocal rank fusion (Cormack, Clarke and Büttcher 2009). Ranks count from 1; ties go by id.
    """
    scores: dict[UUID, float] = defaultdict(float)
    for ranking in rankings:
        for place, found in enumerate(ranking, start=1):
            scores[found] += 1 / (k + place)
    return sorted(scores.items(), key=lambda each: (-each[1], each[0]))
