"""The only place that adds, changes and removes providers: the tenant's accounts at model APIs.

(The package `gateway.providers` is the plug-ins that speak to them.)
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import ProtectedError
from yarl import URL

from audit import ledger
from audit.errors import Problem
from gateway import providers
from gateway.events import ProviderAdded, ProviderChanged, ProviderRemoved
from gateway.models import GatewaySettingInvalid, Provider
from tenants import configuration, encryption, outgoing
from tenants.principals import Principal

LONGEST_API_KEY = 1_000
SHORTEST_SHOWN_API_KEY = 16  # of a shorter key, four characters would be too much


class ProviderInUse(Problem):
    """The provider {provider} has endpoints: {endpoints}. Remove them first."""

    code = "provider_in_use"
    status = 409


class ApiKeyNeeded(Problem):
    """Give the API key again: the stored one belongs to the old address of provider {provider}."""

    code = "api_key_needed"
    status = 422


@transaction.atomic
def add(
    slug: str,
    *,
    kind: str,
    base_url: str = "",
    api_key: str = "",
    timeout_seconds: int = 60,
    by: Principal,
    now: datetime,
) -> Provider:
    """Connect a model API. An empty `base_url` is the kind's own address.

    Raises NotPermitted, GatewaySettingInvalid, GatewaySlugTaken, AddressRefused.
    """
    by.require("admin")
    if kind not in providers.kinds():
        reason = f"kind: one of {', '.join(sorted(providers.kinds()))}"
        raise GatewaySettingInvalid(noun="provider", reason=reason)
    _check_base_url(base_url)
    provider = Provider(slug=slug, kind=kind, base_url=base_url, created_at=now)
    provider.timeout_seconds = timeout_seconds
    _set_api_key(provider, api_key)
    provider.insert()
    configuration.touch()
    event = ProviderAdded(
        provider=slug, provider_kind=kind, base_url=base_url, has_api_key=bool(api_key)
    )
    ledger.record(event, actor=by.actor)
    return provider


@transaction.atomic
def change(
    provider: Provider,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    timeout_seconds: int | None = None,
    by: Principal,
) -> None:
    """Change what is given; an empty `api_key` deletes the stored one.

    A stored key is not sent to a new address, or changing the address would be a way to read it.
    Raises NotPermitted, ApiKeyNeeded, GatewaySettingInvalid, AddressRefused.
    """
    by.require("admin")
    changed: list[str] = []
    if base_url is not None and base_url != provider.base_url:
        if provider.sealed_api_key and api_key is None:
            raise ApiKeyNeeded(provider=provider.slug)
        _check_base_url(base_url)
        provider.base_url = base_url
        changed += ["base_url"]
    if api_key is not None:
        _set_api_key(provider, api_key)
        changed += ["sealed_api_key", "api_key_ending"]
    if timeout_seconds is not None:
        provider.timeout_seconds = timeout_seconds
        changed += ["timeout_seconds"]
    if not changed:
        return
    provider.update(changed)
    configuration.touch()
    event = ProviderChanged(provider=provider.slug, changed=changed, base_url=provider.base_url)
    ledger.record(event, actor=by.actor)


@transaction.atomic
def remove(provider: Provider, *, by: Principal) -> None:
    """Disconnect a model API and delete its key. Raises NotPermitted, ProviderInUse."""
    by.require("admin")
    try:
        provider.delete()
    except ProtectedError:
        slugs = ", ".join(provider.endpoints.values_list("slug", flat=True))
        raise ProviderInUse(provider=provider.slug, endpoints=slugs) from None
    configuration.touch()
    ledger.record(ProviderRemoved(provider=provider.slug), actor=by.actor)


def _check_base_url(base_url: str) -> None:
    if not base_url:
        return
    outgoing.check_url(base_url)
    # A query would be a place for a key, which belongs sealed; it also breaks the paths below it.
    if URL(base_url).query_string or URL(base_url).fragment:
        reason = "base_url: without query and fragment"
        raise GatewaySettingInvalid(noun="provider", reason=reason)


def _set_api_key(provider: Provider, api_key: str) -> None:
    # It travels in a header, where a line break would begin another one.
    if len(api_key) > LONGEST_API_KEY or not all("!" <= c <= "~" for c in api_key):
        reason = f"api_key: at most {LONGEST_API_KEY} printable characters without spaces"
        raise GatewaySettingInvalid(noun="provider", reason=reason)
    provider.sealed_api_key = encryption.seal(api_key) if api_key else None
    provider.api_key_ending = api_key[-4:] if len(api_key) >= SHORTEST_SHOWN_API_KEY else ""
