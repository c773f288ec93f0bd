"""The only place that fills the JSON which `response_format` asks for, from an answer's parts."""

from __future__ import annotations

import json
from typing import Any

from gateway.providers.offline import catalogue, finding
from gateway.providers.offline.answering import Quote
from gateway.providers.offline.composing import Answer
from gateway.providers.offline.lexicon import word_set
from gateway.providers.offline.transcript import Conversation, text_of
from gateway.providers.offline.words import pieces

ANSWERING = word_set("answer text summary content message response reply result")
CITING = word_set("citations citation sources source refs ref references quotes evidence")
KNOWING = word_set("known answered found sufficient answerable grounded supported")
UNDECIDED = word_set("unknown other none unclear undecided not_applicable")
EMPTY: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False, "null": None}
MAX_DEPTH = 6


def shape(answer: Answer, conversation: Conversation, response_format: object) -> str:
    """The answer as the content that `response_format` asks for: plain text or one JSON object.

    What a schema asks for and no source holds is null where allowed, else empty of its type.
    """
    asked = response_format if isinstance(response_format, dict) else {}
    if asked.get("type") == "json_schema":
        named = asked.get("json_schema")
        schema = named.get("schema") if isinstance(named, dict) else None
        if isinstance(schema, dict):
            return _dumped(
                _Filling(answer, conversation, schema).value("answer", schema, MAX_DEPTH)
            )
    if asked.get("type") in {"json_object", "json_schema"}:
        refs = [quote.source.ref for quote in answer.quotes if quote.source.ref]
        return _dumped({"answer": answer.text, "citations": refs, "known": answer.known})
    return answer.text


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)


class _Filling:
    """Fills one schema; holds the sources, so that the functions below need not pass them on."""

    def __init__(self, answer: Answer, conversation: Conversation, root: dict[str, Any]) -> None:
        self.answer = answer
        self.root = root
        self.source = "\n".join(
            [conversation.request, *(quote.text for quote in answer.quotes), answer.text]
        )
        self.fields = {
            key: value
            for result in (*conversation.earlier, *conversation.results)
            if isinstance(result.value, dict) and not result.error
            for key, value in result.value.items()
        }

    def value(self, name: str, schema: dict[str, Any], depth: int) -> Any:
        """A value for one property, from the most to the least certain source."""
        part = catalogue.resolved(schema, self.root)
        kind = catalogue.type_of(part)
        if kind == "object":
            return self._object(part, depth)
        if kind == "array":
            return self._array(name, part, depth)
        known = self._known(name, part, kind)
        return known if known is not None else self._found(name, part, schema, kind)

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        if depth <= 0:
            return {}
        parts = catalogue.properties_of(schema, self.root)
        return {name: self.value(name, part, depth - 1) for name, part in parts.items()}

    def _array(self, name: str, schema: dict[str, Any], depth: int) -> list[Any]:
        items = catalogue.resolved(schema.get("items"), self.root)
        if not CITING.isdisjoint(pieces(name)):
            return [self._citation(quote, items) for quote in self.answer.quotes]
        if catalogue.type_of(items) in {"object", "array"} or depth <= 0:
            return []
        return finding.found(name, items, self.source, frozenset())

    def _citation(self, quote: Quote, items: dict[str, Any]) -> Any:
        """A quotation as its reference, or as an object with the fields that the schema names."""
        if catalogue.type_of(items) != "object":
            return quote.source.ref or quote.text
        page = quote.source.page
        known = {"ref": quote.source.ref, "document": quote.source.document, "page": page}
        known |= {"heading": quote.source.heading, "quote": quote.text, "text": quote.text}
        known |= {"id": quote.source.ref, "title": quote.source.document}
        parts = catalogue.properties_of(items, self.root)
        return {
            name: known.get(name, EMPTY.get(catalogue.type_of(part), ""))
            for name, part in parts.items()
        }

    def _known(self, name: str, schema: dict[str, Any], kind: str) -> Any:
        named = set(pieces(name))
        if kind == "string" and named & ANSWERING and "enum" not in schema:
            return self.answer.text
        if kind == "boolean" and named & KNOWING:
            return self.answer.known
        if kind == "number" and "confidence" in named:
            return round(
                min(1.0, max((quote.score for quote in self.answer.quotes), default=0.0)), 2
            )
        value = self.fields.get(name)
        return value if _is_a(value, kind) else None

    def _found(self, name: str, part: dict[str, Any], schema: dict[str, Any], kind: str) -> Any:
        hits = finding.found(name, part, self.source, frozenset())
        if hits:
            return hits[0]
        members = part.get("enum")
        if isinstance(members, list) and members:
            return next((one for one in members if text_of(one) in UNDECIDED), members[0])
        return None if _nullable(schema) else EMPTY.get(kind, "")


def _is_a(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    wanted = {"string": str, "integer": int, "number": int}.get(kind)
    return wanted is not None and isinstance(value, wanted)


def _nullable(schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    options = schema.get("anyOf")
    union = options if isinstance(options, list) else []
    listed = isinstance(kind, list) and "null" in kind
    return listed or any(isinstance(one, dict) and one.get("type") == "null" for one in union)
