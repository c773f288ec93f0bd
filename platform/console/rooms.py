"""The only place that says which roles enter which room of the console, and which change it."""

from __future__ import annotations

import msgspec

from runtime import erasing, ledgers, runs
from tenants.principals import Principal

EVERYBODY = frozenset({"admin", "builder", "reviewer", "auditor", "viewer"})
BUILDERS = frozenset({"admin", "builder"})
ADMINS = frozenset({"admin"})


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """A noun of the console: `enter` may look at it, `change` may change something in it."""

    slug: str
    title: str
    icon: str
    enter: frozenset[str]
    change: frozenset[str] = frozenset()

    @property
    def view(self) -> str:
        """The name of the room's first page."""
        return f"console:{self.slug}"

    def is_open_to(self, principal: Principal) -> bool:
        """Whether the principal may look."""
        return principal.has(*self.enter)

    def is_kept_by(self, principal: Principal) -> bool:
        """Whether the principal may change something."""
        return principal.has(*self.change)

    def check(self, principal: Principal, *, to_change: bool) -> None:
        """Raise NotPermitted unless the principal may look, or change something."""
        roles = self.change if to_change else self.enter
        principal.require(*sorted(roles))


ROOMS = (
    Room(slug="home", title="Home", icon="home", enter=EVERYBODY),
    Room(
        slug="approvals",
        title="Approvals",
        icon="approval",
        enter=frozenset({"admin", "reviewer", "auditor"}),
        change=frozenset({"admin", "reviewer"}),
    ),
    Room(
        slug="runs",
        title="Runs",
        icon="conversion_path",
        enter=EVERYBODY,
        change=frozenset(runs.GIVERS),
    ),
    Room(slug="agents", title="Agents", icon="smart_toy", enter=BUILDERS, change=BUILDERS),
    Room(slug="tools", title="Tools", icon="build", enter=BUILDERS, change=BUILDERS),
    Room(
        slug="documents",
        title="Documents",
        icon="description",
        enter=EVERYBODY - {"auditor"},
        change=BUILDERS,
    ),
    Room(
        slug="policies",
        title="Policies",
        icon="gavel",
        enter=frozenset({"admin", "builder", "auditor"}),
        change=ADMINS,
    ),
    Room(
        slug="ledger",
        title="Ledger",
        icon="receipt_long",
        enter=frozenset(ledgers.READERS),
    ),
    Room(
        slug="streams",
        title="Streams",
        icon="sensors",
        enter=frozenset(ledgers.READERS),
        change=ADMINS,
    ),
    Room(
        slug="erasures",
        title="Erasure and holds",
        icon="auto_delete",
        enter=frozenset(erasing.KEEPERS),
        change=frozenset(erasing.KEEPERS),
    ),
    Room(slug="members", title="Members", icon="group", enter=ADMINS, change=ADMINS),
    Room(slug="keys", title="Keys", icon="key", enter=ADMINS, change=ADMINS),
)

_BY_SLUG = {room.slug: room for room in ROOMS}


def named(slug: str) -> Room:
    """The room called `slug`, which must exist."""
    return _BY_SLUG[slug]


def open_to(principal: Principal) -> list[Room]:
    """The rooms that the principal sees in the navigation, in its order."""
    return [room for room in ROOMS if room.is_open_to(principal)]
