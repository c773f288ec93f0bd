"""The only place where people sign in to the console, and out of it."""

from __future__ import annotations

from django.contrib import auth
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from tenants import isolation
from tenants.signing_in import SignInRefused

HOME = "/"


@never_cache
@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Ask for address and password; a member of this host's tenant goes on to `next`."""
    goal = _goal(request)
    if request.method == "GET":
        return _form(request, goal)
    email = request.POST.get("email", "").replace("\0", "")
    password = request.POST.get("password", "")
    user = auth.authenticate(request, username=email, password=password)
    if user is None:
        return _form(request, goal, email=email, problem=str(SignInRefused()))
    auth.login(request, user)
    return HttpResponseRedirect(goal)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    auth.logout(request)
    return HttpResponseRedirect("/sign-in")


def _form(request: HttpRequest, goal: str, *, email: str = "", problem: str = "") -> HttpResponse:
    context = {"tenant": isolation.current(), "goal": goal, "email": email, "problem": problem}
    status = 401 if problem else 200
    return render(request, "console/signing_in/form.html", context, status=status)


def _goal(request: HttpRequest) -> str:
    """Where to go afterwards: a path of this host, or home."""
    wanted = request.POST.get("next") or request.GET.get("next") or HOME
    host = {request.get_host()}
    allowed = url_has_allowed_host_and_scheme(wanted, host, require_https=request.is_secure())
    return wanted if allowed else HOME
