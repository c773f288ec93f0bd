"""The only place for forms that do their work once: a page that is loaded again does not repeat it.

Each showing of such a form carries a token of its own; those that were sent are kept with the
session until they are too old to be taken.
"""

from __future__ import annotations

import secrets

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.core.signing import BadSignature, TimestampSigner
from django.http import HttpRequest

from audit.errors import Problem

FIELD = "once"
USED = "used_forms"
SIGNER = TimestampSigner(salt="console.once")


class FormUsedAlready(Problem):
    """This was done already, when the form was first sent. What it showed is not shown again."""

    code = "form_used_already"
    status = 409


class FormStale(Problem):
    """The form is too old. Load its page again."""

    code = "form_stale"
    status = 422


def token() -> str:
    """What one showing of a form carries in its field `once`."""
    return SIGNER.sign(secrets.token_urlsafe(12))


def use(request: HttpRequest) -> None:
    """Take the form's token, for ever, with the transaction around what the form does.

    The session's row is locked until then: two that are sent at once are one after the other.
    Raises FormUsedAlready, FormStale.
    """
    given = request.POST.get(FIELD, "")
    if not _is_fresh(given):
        raise FormStale
    session = _locked(request.session)
    used = session.get(USED, [])
    if given in used:
        raise FormUsedAlready
    session[USED] = [*filter(_is_fresh, used), given]
    session.save(must_create=False)


def _locked(session: SessionBase) -> SessionBase:
    """The session as the database has it now, its row locked."""
    Session.objects.select_for_update().get(pk=session.session_key)
    return type(session)(session.session_key)


def _is_fresh(text: str) -> bool:
    """Whether it is a token of ours that a session may still send."""
    try:
        SIGNER.unsign(text, max_age=settings.SESSION_COOKIE_AGE)
    except BadSignature:
        return False
    return True
