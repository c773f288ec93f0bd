"""The only place that describes the order service's tools, as a tenant registers them."""

from __future__ import annotations

from typing import Any

TOOLS: list[dict[str, Any]] = [
    {
        "name": "look_up_order",
        "description": (
            "Look up one order of the shop by its number: customer, items, status, total and "
            "what is left to refund."
        ),
        "method": "GET",
        "url": "/orders/{order_id}",
        "effect": "read",
        "arguments": {
            "type": "object",
            "properties": {
                "order_id": {
                    "type": "string",
                    "description": "The number of the order, for example 1042.",
                    "minLength": 1,
                    "maxLength": 40,
                    "pattern": "^[A-Za-z0-9-]+$",
                },
            },
            "required": ["order_id"],
            "additionalProperties": False,
        },
    },
    {
        "name": "refund_order",
        "description": "Refund an amount of one order to the payment method that was used for it.",
        "method": "POST",
        "url": "/refunds",
        "effect": "write",
        "arguments": {
            "type": "object",
            "properties": {
                "order_id": {
                    "type": "string",
                    "description": "The number of the order, for example 1042.",
                    "minLength": 1,
                    "maxLength": 40,
                    "pattern": "^[A-Za-z0-9-]+$",
                },
                "amount_cents": {
                    "type": "integer",
                    "description": "The amount in cents (minor units): 3500 is 35.00 EUR.",
                    "minimum": 1,
                    "maximum": 100_000_000,
                },
                "reason": {
                    "type": "string",
                    "description": "Why the refund is made.",
                    "maxLength": 500,
                },
            },
            "required": ["order_id", "amount_cents"],
            "additionalProperties": False,
        },
    },
]
"""`url` is a path under the service's address; `{order_id}` is filled from the arguments."""
