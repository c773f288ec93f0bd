"""The only place that says which entries tell of members and keys (audit.reconciling)."""

from __future__ import annotations

from typing import Any

from django.db.models import Func, QuerySet, TextField

from audit.reconciling import Pair, key
from tenants import isolation
from tenants.events import KeyIssued, KeyRevoked, MemberAdded, MemberChanged, MemberRemoved
from tenants.keys.models import Key
from tenants.models import Membership


def _members() -> QuerySet[Any, Any]:
    # As canonical JSON writes a list of plain words.
    roles = Func("roles", function="to_json", output_field=TextField())
    own = Membership.objects.filter(tenant=isolation.current())
    return own.values_list(key("user_id", roles))


PAIRS = (
    Pair(
        name="members",
        rows=_members,
        begin=(MemberAdded.kind, MemberChanged.kind),
        by=("member",),
        says=("roles",),
        end=(MemberRemoved.kind,),
    ),
    Pair(
        name="keys",
        rows=lambda: Key.objects.values_list(key("public_id", "kind")),
        begin=(KeyIssued.kind,),
        by=("key",),
        says=("key_kind",),
    ),
    Pair(
        name="revoked keys",
        rows=lambda: Key.objects.exclude(revoked_at=None).values_list(key("public_id")),
        begin=(KeyRevoked.kind,),
        by=("key",),
    ),
)
