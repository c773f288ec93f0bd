"""The only place for reading the offered tools: their names, what they do, what they take."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.providers.offline import lexicon
from gateway.providers.offline.lexicon import word_set
from gateway.providers.offline.transcript import text_of
from gateway.providers.offline.words import pieces, stem, stems, words

QUERY_NAMES = word_set(
    """query q question search keywords keyword terms text search_query search_text"""
)
FILLERS = word_set("up for of a an the by to and in new all my")


class OfferedTool(msgspec.Struct, frozen=True):
    """One function of the request; `verbs`, `topics` and `about` are stems.

    `verbs` are the ways to ask for it, `topics` the other words of its name, `about` those of
    its description; `reads` tells whether it only looks; `query` is the argument that takes a
    whole question, of a tool that searches.
    """

    name: str
    phrase: str
    verbs: frozenset[str]
    topics: frozenset[str]
    about: frozenset[str]
    reads: bool
    properties: dict[str, dict[str, Any]]
    required: tuple[str, ...]
    query: str | None


def read(tools: object) -> list[OfferedTool]:
    """The usable tools of a request, in their order; what is not a function is passed over."""
    found: dict[str, OfferedTool] = {}
    for tool in tools if isinstance(tools, list) else []:
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            offered = _offered(function)
            found.setdefault(offered.name, offered)
    return list(found.values())


def resolved(schema: object, root: dict[str, Any], depth: int = 3) -> dict[str, Any]:
    """`schema` with a local `$ref` followed and a nullable union reduced to its first real part."""
    if not isinstance(schema, dict):
        return {}
    if depth and isinstance(schema.get("$ref"), str):
        return resolved(_pointed(schema["$ref"], root), root, depth - 1)
    for key in ("anyOf", "oneOf", "allOf"):
        options = schema.get(key)
        for option in options if depth and isinstance(options, list) else []:
            if isinstance(option, dict) and option.get("type") != "null":
                rest = {name: value for name, value in schema.items() if name != key}
                return {**rest, **resolved(option, root, depth - 1)}
    return schema


def type_of(schema: dict[str, Any]) -> str:
    """The JSON type that a schema asks for; the first real one of several, "string" for none."""
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    named = [one for one in kinds if isinstance(one, str) and one != "null"]
    if named:
        return named[0]
    return "object" if isinstance(schema.get("properties"), dict) else "string"


def properties_of(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The properties of an object schema by name, each resolved."""
    listed = schema.get("properties")
    rows = listed if isinstance(listed, dict) else {}
    return {text_of(name): resolved(part, root) for name, part in rows.items()}


def _pointed(reference: str, root: dict[str, Any]) -> object:
    part: object = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        part = part.get(step) if isinstance(part, dict) else None
    return part


def _offered(function: dict[str, Any]) -> OfferedTool:
    name = text_of(function["name"])
    description = text_of(function.get("description"))
    given = function.get("parameters")
    schema = resolved(given, given) if isinstance(given, dict) else {}
    named = pieces(name)
    verb = _verb(named, words(description)[:3])
    reads = _reads(verb, named, description)
    properties = properties_of(schema, schema)
    return OfferedTool(
        name=name,
        phrase=" ".join(named),
        verbs=_asking(verb),
        topics=frozenset(stem(word) for word in named if _is_topic(word, verb)),
        about=frozenset(stems(description)) - _asking(verb),
        reads=reads,
        properties=properties,
        required=_required(schema, properties),
        query=_query(properties, schema, [*named, *words(description)[:3]]) if reads else None,
    )


def _is_topic(word: str, verb: str) -> bool:
    return word != verb and word not in FILLERS and word not in lexicon.READING


def _verb(named: list[str], described: list[str]) -> str:
    """The verb of a tool: of its name, else of its description's beginning, else its first word."""
    known = lexicon.READING | lexicon.ACTING
    if named and named[0] in known:
        return named[0]
    for word in (*reversed(named), *described):
        if word in known or word.removesuffix("s") in known:
            return word if word in known else word.removesuffix("s")
    return named[0] if named else ""


def _reads(verb: str, named: list[str], description: str) -> bool:
    """Whether a tool only looks: an acting verb anywhere in its name or first word denies it."""
    leading = words(description)[:1]
    acts = any(word in lexicon.ACTING and word == verb for word in named)
    acts = acts or any(word.removesuffix("s") in lexicon.ACTING for word in leading)
    if verb in lexicon.READING:
        return named[:1] == [verb] or not acts
    return not acts and not lexicon.READING_NOUNS.isdisjoint(named)


def _asking(verb: str) -> frozenset[str]:
    """The stems of all verbs that ask for the same thing as `verb`."""
    families = [family for family in lexicon.FAMILIES if verb in family]
    return frozenset(stem(word) for word in frozenset({verb}).union(*families))


def _required(schema: dict[str, Any], properties: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    listed = schema.get("required")
    names = listed if isinstance(listed, list) else []
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str)))


def _query(
    properties: dict[str, dict[str, Any]], schema: dict[str, Any], told: list[str]
) -> str | None:
    """The argument that takes a question: one named so, or the only one a search requires."""
    textual = [name for name, part in properties.items() if _is_free_text(part)]
    for name in textual:
        if name.lower() in QUERY_NAMES:
            return name
    required = _required(schema, properties)
    if len(required) == 1 and required[0] in textual and {"search", "find"} & set(told):
        lone = set(pieces(required[0]))
        return None if lone & {"id", "number", "email", "date", "name", "city"} else required[0]
    return None


def _is_free_text(schema: dict[str, Any]) -> bool:
    fixed = "enum" in schema or "const" in schema or "format" in schema
    return type_of(schema) == "string" and not fixed
