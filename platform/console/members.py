"""The only place for the pages of members: who they are, and what they may do."""

from __future__ import annotations

import secrets
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from audit.errors import Problem
from console import pages
from console.entrance import enters
from console.pages import MemberRequest
from console.rooms import ROOMS
from tenants import members
from tenants.members import MemberUnknown
from tenants.models import Membership, Role

ROLES = {
    "admin": "Configures everything: agents, policies, members and keys. Votes too.",
    "builder": "Makes agents, tools and collections, and starts runs.",
    "reviewer": "Approves or rejects what is held.",
    "auditor": "Searches, exports and verifies the ledger.",
    "viewer": "Looks at runs and documents.",
}


class NewMember(forms.Form):
    """Somebody to add."""

    email = forms.EmailField(label="E-mail address")
    name = forms.CharField(max_length=200)
    roles = forms.MultipleChoiceField(choices=Role.choices, widget=forms.CheckboxSelectMultiple)


@enters("members")
def index(request: MemberRequest) -> HttpResponse:
    """Everybody in this tenant with their roles."""
    return pages.show(request, "members/list", _context(request, NewMember()))


def _context(request: MemberRequest, form: NewMember) -> dict[str, Any]:
    return {
        "page": pages.cut(members.everyone(), request),
        "form": form,
        "roles": [(value, label, ROLES[value]) for value, label in Role.choices],
        "doors": ROOMS,
    }


@enters("members", to_change=True)
@require_POST
def add(request: MemberRequest) -> HttpResponse:
    """A new member. The first password is made here and shown once."""
    form = NewMember(request.POST)
    if form.is_valid():
        password = secrets.token_urlsafe(15)
        actor = request.principal.actor
        try:
            made = members.add(
                **form.cleaned_data, password=password, actor=actor, now=timezone.now()
            )
        except Problem as problem:
            form.add_error(None, str(problem))
        else:
            context = {"member": made, "password": password}
            return pages.show(request, "members/added", context)
    return pages.show(request, "members/list", _context(request, form), status=422)


@enters("members")
def detail(request: MemberRequest, member: UUID) -> HttpResponse:
    """One member: their roles, and ending their membership."""
    return pages.show(request, "members/detail", _one(_access(member)))


def _access(member: UUID) -> Membership:
    row = members.everyone().filter(user_id=member).first()
    if row is None:
        raise MemberUnknown(member=str(member))
    return row


def _one(row: Membership) -> dict[str, Any]:
    return {"member": row, "roles": [(v, label, ROLES[v]) for v, label in Role.choices]}


@enters("members", to_change=True)
@require_POST
def set_roles(request: MemberRequest, member: UUID) -> HttpResponse:
    """Change what a member may do, at once."""
    row = _access(member)
    try:
        members.set_roles(member, request.POST.getlist("roles"), by=request.principal)
    except Problem as problem:
        context = {**_one(row), "problem": problem}
        return pages.show(request, "members/detail", context, status=problem.status)
    messages.success(request, f"The roles of {row.user.name} are changed.")
    return redirect("console:members")


@enters("members", to_change=True)
@require_POST
def remove(request: MemberRequest, member: UUID) -> HttpResponse:
    """End a membership: sessions and tokens here stop working with it."""
    row = _access(member)
    try:
        members.remove(member, by=request.principal)
    except Problem as problem:
        context = {**_one(row), "problem": problem}
        return pages.show(request, "members/detail", context, status=problem.status)
    messages.success(request, f"{row.user.name} is no longer a member.")
    return redirect("console:members")
