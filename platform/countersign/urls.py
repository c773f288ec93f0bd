"""The only place that maps addresses to views."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from api.health import health

handler400 = "api.problems.bad_request"
handler404 = "api.problems.not_found"
handler500 = "api.problems.server_error"

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/", include("api.urls")),
    path("health", health, name="health"),
    path("", include("console.urls")),
]
