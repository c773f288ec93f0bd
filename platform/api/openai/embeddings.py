"""The only place that answers a request for embeddings."""

from __future__ import annotations

import base64
import sys
from array import array
from typing import Any

from api.openai.bodies import Encoding, ToEmbed
from api.openai.callers import Caller
from api.openai.exchange import Exchange, json_of
from api.openai.problems import FieldInvalid
from runtime import direct_calls
from runtime.direct_calls import DirectCalls
from runtime.snapshots import Offered


async def answer(
    exchange: Exchange, caller: Caller, route: Offered, wanted: ToEmbed, calls: DirectCalls
) -> None:
    """Embed the texts, once that is decided and recorded. Raises Problem."""
    _check_dimensions(wanted, route)
    call = direct_calls.ask(
        wanted.texts,
        route=route,
        principal=caller.principal,
        snapshot=caller.snapshot,
        correlation=exchange.id,
    )
    begun = await calls.admit(call)
    embedded = await begun.embed(wanted.texts)
    tokens = embedded.usage.input_tokens
    body = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _encoded(vector, wanted.encoding)}
            for index, vector in enumerate(embedded.vectors)
        ],
        "model": embedded.version,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    await exchange.answer(json_of(body))


def _check_dimensions(wanted: ToEmbed, route: Offered) -> None:
    """All endpoints of an embeddings route give vectors of one size, and no other can be had."""
    size = route.spec.endpoints[0].dimensions
    if wanted.dimensions not in {None, size}:
        reason = f"the model gives {size}" if size else "the model has a size of its own"
        raise FieldInvalid(param="dimensions", reason=reason)


def _encoded(vector: list[float], encoding: Encoding) -> Any:
    """The vector itself, or its 32-bit floats, the little end first, in base64."""
    if encoding == "float":
        return vector
    floats = array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode()
