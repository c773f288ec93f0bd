"""The only place that lists the entry kinds of providers, endpoints, routes and model calls."""

from __future__ import annotations

from audit.events import Bound, Event


class ProviderAdded(Event, kind="provider.added"):
    """An admin connected a model API. The key itself is never recorded."""

    provider: str
    provider_kind: str
    base_url: str
    has_api_key: bool


class ProviderChanged(Event, kind="provider.changed"):
    """An admin changed these settings of a provider."""

    provider: str
    changed: list[str]
    base_url: str


class ProviderRemoved(Event, kind="provider.removed"):
    """An admin disconnected a model API, and its key was deleted."""

    provider: str


class EndpointAdded(Event, kind="endpoint.added"):
    """A model at a provider can be used by routes. Prices are micros a million tokens."""

    endpoint: str
    provider: str
    model: str
    purpose: str
    input_micros_per_million: int
    output_micros_per_million: int


class EndpointChanged(Event, kind="endpoint.changed"):
    """An endpoint has a new price or a new limit. Prices are micros a million tokens."""

    endpoint: str
    input_micros_per_million: int
    output_micros_per_million: int
    max_tokens: int | None


class EndpointRemoved(Event, kind="endpoint.removed"):
    """An endpoint can no longer be used."""

    endpoint: str


class RouteAdded(Event, kind="route.added"):
    """A name that clients may ask for, and the endpoints that serve it in order."""

    route: str
    purpose: str
    endpoints: list[str]


class RouteChanged(Event, kind="route.changed"):
    """A route is served by these endpoints in order."""

    route: str
    endpoints_before: list[str]
    endpoints: list[str]


class RouteRemoved(Event, kind="route.removed"):
    """A name can no longer be asked for."""

    route: str


class ModelCalled(Event, kind="model.called"):
    """A model answered. `attempts` tells every try in order, as `endpoint: outcome`.

    `answered_model` and `response_id` are the provider's own words, where they are short names;
    `parameters_sha256` is the digest of all that was asked for beside the messages. `prompt` is
    the SHA-256 of the messages that were sent, or of the texts to embed, and `prompt_version` the
    version of the agent whose instructions are in them. `latency_ms` is from the first try to the
    answer.
    """

    route: str
    endpoint: str
    provider_kind: str
    model: str
    streamed: bool
    input_tokens: int
    output_tokens: int
    cost_micros: int
    estimated: bool
    latency_ms: int
    attempts: list[str]
    answered_model: str | None = None
    response_id: str | None = None
    parameters_sha256: str | None = None
    prompt: Bound[str | None] = None
    prompt_version: str | None = None


class ModelCallFailed(Event, kind="model.failed"):
    """No endpoint of a route answered. `attempts` tells every try, as `endpoint: outcome`.

    `prompt`, `prompt_version` and `latency_ms` are what they are in `model.called`.
    """

    route: str
    code: str
    attempts: list[str]
    latency_ms: int | None = None
    prompt: Bound[str | None] = None
    prompt_version: str | None = None
