"""The only place that puts problems into OpenAI's words: {error: {message, type, param, code}}."""

from __future__ import annotations

import orjson

from audit.errors import Problem

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class AddressUnknown(Problem):
    """There is nothing at {path}."""

    code = "address_unknown"
    status = 404


class HostUnknown(Problem):
    """There is no tenant at this address."""

    code = "host_unknown"
    status = 404


class MethodUnknown(Problem):
    """The address {path} is for {allowed} only."""

    code = "method_unknown"
    status = 405


class ModelUnknown(Problem):
    """There is no model {model} here."""

    code = "model_not_found"  # OpenAI's own word: clients look at it
    status = 404


class FieldInvalid(Problem):
    """The field {param} can't be used: {reason}."""

    code = "field_invalid"
    status = 400


class BodyMalformed(Problem):
    """The request's body is not {expected}."""

    code = "body_malformed"
    status = 400


class RunFailed(Problem):
    """The run {run} {ending}: {reason}"""

    code = "run_failed"
    status = 500


# The same request again would do the same work again.
NOT_TO_BE_REPEATED = frozenset({"run_failed", "outcome_unrecorded"})


def status_of(problem: Problem) -> int:
    """The HTTP status; a request that can't be used has 400 here and never 422, as at OpenAI."""
    return 400 if problem.status == 422 else problem.status


def body_of(problem: Problem) -> bytes:
    """The JSON of an error."""
    status = status_of(problem)
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    param = problem.details.get("param")
    error = {"message": str(problem), "type": kind, "param": param, "code": problem.code}
    return orjson.dumps({"error": error})


def headers_of(problem: Problem) -> list[tuple[bytes, bytes]]:
    """What tells a client whether, and when, to try again, and how to sign in."""
    headers = []
    if problem.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="countersign"'))
    if problem.code in NOT_TO_BE_REPEATED:
        headers.append((b"x-should-retry", b"false"))
    seconds = problem.details.get("retry_after")
    if isinstance(seconds, int):
        headers.append((b"retry-after", b"%d" % seconds))
    allowed = problem.details.get("allowed")
    if isinstance(allowed, str):
        headers.append((b"allow", allowed.encode()))
    return headers
