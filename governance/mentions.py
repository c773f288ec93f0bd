"""The only place that finds what a policy names and is not there, a misspelt agent or tool.

Cedar knows types and not rows: such a policy is valid and matches nothing, and a misspelt `forbid`
forbids nothing. It may also be written ahead of what it names, so this only warns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import cedarpy
from cedarpy import pst

from governance import statements
from governance.statements import Flaw, Statement


def missing(text: str, there: Mapping[str, Collection[str]]) -> list[Flaw]:
    """What a valid `text` names and `there`, the ids by entity type, does not have."""
    return [flaw for each in statements.split(text) for flaw in _missing(each, there)]


def _missing(statement: Statement, there: Mapping[str, Collection[str]]) -> Iterator[Flaw]:
    for tree in cedarpy.policies_to_pst(statement.source).static_policies.values():
        named = sorted((uid.type.basename, uid.id) for uid in pst.entity_uids(tree))
        for kind, identity in named:
            if identity not in there.get(kind, {identity}):
                at = statements.only_occurrence(statement, identity)
                message = f'there is no {kind}::"{identity}", so this matches nothing yet'
                yield statement.flaw(message, at=at, policy=tree.annotations.get("id"))
