"""The only place for the pages of keys: issuing them, showing them once, revoking them."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from audit.errors import Problem
from console import names, once, pages
from console.entrance import enters
from console.once import FormStale, FormUsedAlready
from console.pages import MemberRequest
from tenants.keys import issuing
from tenants.keys.models import Key

LONGEST_NAME = 100


@enters("keys")
def index(request: MemberRequest) -> HttpResponse:
    """Every key that was issued, newest first. What opens the API is not stored, so not shown."""
    return pages.show(request, "keys/list", _context(request))


def _context(request: MemberRequest) -> dict[str, Any]:
    rows = Key.objects.defer("secret_hash").order_by("-created_at", "-id")
    return {"page": pages.cut(rows, request), "names": names.known(), "now": timezone.now()}


@enters("keys", to_change=True)
@require_POST
def issue(request: MemberRequest) -> HttpResponse:
    """A service key for a client app; its text is on this page, and never again.

    To load the page again sends its form again: that issues no second key.
    """
    name = " ".join(request.POST.get("name", "").replace("\0", "").split())
    if not 0 < len(name) <= LONGEST_NAME:
        flaw = f"Give it a name of 1 to {LONGEST_NAME} characters: the app that will use it."
        return _refused(request, flaw, name, status=422)
    try:
        with transaction.atomic():
            once.use(request)
            key, text = issuing.issue_service_key(name, by=request.principal, now=timezone.now())
    except (FormUsedAlready, FormStale) as problem:
        return _refused(request, problem, "", status=problem.status)
    return pages.show(request, "keys/issued", {"key": key, "text": text})


def _refused(
    request: MemberRequest, problem: Problem | str, name: str, *, status: int
) -> HttpResponse:
    context = {**_context(request), "problem": problem, "name": name}
    return pages.show(request, "keys/list", context, status=status)


@enters("keys", to_change=True)
@require_POST
def revoke(request: MemberRequest, key: str) -> HttpResponse:
    """End a key at once."""
    issuing.revoke(key, by=request.principal, now=timezone.now())
    messages.success(request, "The key is revoked: it opens nothing any more.")
    return redirect("console:keys")
