"""The only place that puts problems into OpenAI's words: {error: {message, type, param, code}}."""

from __future__ import annotations

import orjson

from audit.errors import Problem

# A provider may ask for hours; a client that waits so long looks as if it hung.
LONGEST_RETRY_AFTER = 60
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class AddressUnknown(Problem):
    """There is nothing at {path}."""

    code = "address_unknown"
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


class RunFailed(Problem):
    """The run {run} {ending}: {reason}"""

    code = "run_failed"
    status = 500


# The same request again would do the same work again.
NOT_TO_BE_REPEATED = frozenset({"run_failed", "outcome_unrecorded"})


# OpenAI knows no keys; for one that was reused 422 is what the draft of the header says.
UNPROCESSABLE = frozenset({"idempotency_key_reused"})


def status_of(problem: Problem) -> int:
    """The HTTP status; a request that can't be used has 400 here and not 422, as at OpenAI."""
    if problem.status == 422 and problem.code not in UNPROCESSABLE:
        return 400
    return problem.status


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
        headers.append((b"retry-after", b"%d" % min(seconds, LONGEST_RETRY_AFTER)))
    allowed = problem.details.get("allowed")
    if isinstance(allowed, str):
        headers.append((b"allow", allowed.encode()))
    return headers
