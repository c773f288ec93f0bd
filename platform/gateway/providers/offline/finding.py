"""The only place that finds the values of one argument in the words of a request."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from gateway.providers.offline import lexicon, values
from gateway.providers.offline.catalogue import type_of
from gateway.providers.offline.kinds import IDENTIFYING, Kind, in_minor_units, kind_of
from gateway.providers.offline.lexicon import word_set
from gateway.providers.offline.transcript import text_of
from gateway.providers.offline.words import pieces, stem, words

CODE = r"(?=[\w/-]{0,40}\d)[^\W_][\w/-]{0,39}"
LABEL = r"(?:\s{0,4}(?:\b(?:number|no\.?|nr\.?|id|code|ref|reference|is|was)(?!\w)|[:#=]))*"
STANDALONE = re.compile(r"#(\w[\w/-]{0,39})|\b([A-Z]{1,6}-?\d[\w-]{0,30})\b")
CAPITALISED = r"[^\W\d_a-z][\w'\u2019-]{1,30}(?:\s[^\W\d_a-z][\w'\u2019-]{1,30}){0,3}"
PREPOSED = re.compile(rf"\b(?:in|at|for|to|near|of|from)\s(?:the\s)?({CAPITALISED})")
FROM = re.compile(rf"\bfrom\s(?:the\s)?({CAPITALISED})")
TO = re.compile(rf"\bto\s(?:the\s)?({CAPITALISED})")
BECAUSE = re.compile(r"\b(?:because|since|reason\s?(?:is|:|=)?)\s([^.;!?\n]{3,200})", re.IGNORECASE)
SAYING = re.compile(
    r"\b(?:saying|says|that says|titled|called|named|about|subject|with the title)\s*:?\s+"
    r"([^.;!?\n\"“]{2,200})",
    re.IGNORECASE,
)
ARTICLES = re.compile(r"^(?:the|a|an|is|are|to|of|for|with|as|be)\s+", re.IGNORECASE)
PAIRED_END = word_set("end until to till checkout return due finish")
SPOKEN_AS = word_set("sku code reference key")
MAX_VALUES = 10


def found(name: str, schema: dict[str, Any], text: str, topics: frozenset[str]) -> list[Any]:
    """Values for the property `name` in `text`, in order and without repetition; [] for none.

    `topics` are the tool's own nouns, so that an argument called only "id" knows whose.
    """
    kind = kind_of(name, schema)
    finder = FINDERS.get(kind)
    hits = finder(name, schema, text) if finder else _ids(name, schema, text, topics)
    fitting = [value for value in hits if _fits(value, schema)]
    return [value for index, value in enumerate(fitting) if value not in fitting[:index]][
        :MAX_VALUES
    ]


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value keeps the schema's simple bounds; the caller judges the rest."""
    low, high = schema.get("minimum"), schema.get("maximum")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        above = not isinstance(low, (int, float)) or value >= low
        return above and (not isinstance(high, (int, float)) or value <= high)
    longest = schema.get("maxLength")
    if isinstance(value, str) and isinstance(longest, int):
        return len(value) <= longest
    return True


def _ids(name: str, schema: dict[str, Any], text: str, topics: frozenset[str]) -> list[Any]:
    plain = values.masked(text)
    named = pieces(name)
    nouns = [piece for piece in named if piece not in IDENTIFYING]
    nouns = nouns or [*(piece for piece in named if piece in SPOKEN_AS), *sorted(topics)]
    codes = [code for noun in nouns for code in _labelled(noun, plain)]
    codes = codes or [one or other for one, other in STANDALONE.findall(plain)]
    if not codes:
        codes = [str(number) for number in values.integers(text) if number >= 100]
    if type_of(schema) in {"integer", "number"}:
        return [int(code) for code in codes if code.isdecimal()]
    return list(codes)


def _labelled(noun: str, plain: str) -> list[str]:
    """The codes after a noun: "order no. 1042", "orders 1042 and 1043", "ticket #T-77"."""
    label = re.compile(rf"\b{re.escape(noun)}\w{{0,3}}\b{LABEL}\s{{0,4}}#?({CODE})", re.IGNORECASE)
    more = re.compile(rf"\s{{0,2}}(?:,|and|&|,\s?and)\s{{0,2}}#?({CODE})(?!\s?[%])")
    codes = []
    for match in label.finditer(plain):
        codes.append(match[1])
        following = more.match(plain, match.end())
        while following and len(codes) < MAX_VALUES:
            codes.append(following[1])
            following = more.match(plain, following.end())
    return [code.rstrip("/-") for code in codes]


def _money(name: str, schema: dict[str, Any], text: str) -> list[Any]:
    sums = [one.minor for one in values.sums(text)]
    if not sums:
        sums = [values.minor(value) for value in _named(name, text) if values.WHOLE.match(value)]
        sums = [minor // 100 for minor in sums] if in_minor_units(name, schema) else sums
    kind = type_of(schema)
    if kind == "string":
        return [f"{minor // 100}.{minor % 100:02d}" for minor in sums]
    if in_minor_units(name, schema):
        return sums
    if kind == "number":
        return [minor / 100 for minor in sums]
    return [minor // 100 for minor in sums if minor % 100 == 0]


def _enum(name: str, schema: dict[str, Any], text: str) -> list[Any]:
    if "const" in schema:
        return [schema["const"]]
    spoken = f" {' '.join(words(text))} "
    stemmed = {stem(word) for word in words(text)}
    members = [member for member in schema["enum"] if isinstance(member, str) and member]
    exact = [member for member in members if _spoken(member).strip() and _spoken(member) in spoken]
    exact.sort(key=lambda member: spoken.index(_spoken(member)))
    return exact or [member for member in members if stem(member.lower()) in stemmed]


def _spoken(member: str) -> str:
    return f" {' '.join(words(member.replace('_', ' ')))} "


def _boolean(name: str, _schema: dict[str, Any], text: str) -> list[Any]:
    spoken = words(text)
    wanted = {stem(piece) for piece in pieces(name) if len(piece) > 2}
    places = [index for index, word in enumerate(spoken) if stem(word) in wanted]
    if not places:
        return []
    near = spoken[max(0, places[0] - 3) : places[0] + 3]
    return [{"no", "not", "without", "never", "false", "off"}.isdisjoint(near)]


def _dates(name: str, _schema: dict[str, Any], text: str) -> list[Any]:
    return _end_of(name, values.dates(text))


def _times(name: str, _schema: dict[str, Any], text: str) -> list[Any]:
    return _end_of(name, values.times(text))


def _datetimes(name: str, _schema: dict[str, Any], text: str) -> list[Any]:
    days, hours = _end_of(name, values.dates(text)), _end_of(name, values.times(text))
    return [f"{days[0]}T{hours[0]}:00"] if days and hours else []


def _end_of(name: str, hits: list[str]) -> list[str]:
    """Of several dates, an argument named for the end takes the last, any other the first."""
    if len(hits) < 2:
        return hits
    return hits[-1:] if not PAIRED_END.isdisjoint(pieces(name)) else hits[:1]


def _integers(name: str, _schema: dict[str, Any], text: str) -> list[Any]:
    named = [int(value) for value in _named(name, text) if value.isdecimal() and len(value) < 13]
    return named or values.integers(text)[:1]


def _numbers(name: str, schema: dict[str, Any], text: str) -> list[Any]:
    plain = re.findall(r"(?<![\w.,-])-?\d{1,12}(?:\.\d{1,6})?(?![\w]|[.,]\d)", text)
    return [float(number) for number in plain[:1]] or _integers(name, schema, text)


def _emails(_name: str, _schema: dict[str, Any], text: str) -> list[Any]:
    return list(values.emails(text))


def _urls(_name: str, _schema: dict[str, Any], text: str) -> list[Any]:
    return list(values.urls(text))


def _currencies(_name: str, _schema: dict[str, Any], text: str) -> list[Any]:
    return [one.currency for one in values.sums(text) if one.currency]


def _places(name: str, _schema: dict[str, Any], text: str) -> list[Any]:
    named = set(pieces(name))
    ways = [FROM] if named & {"from", "origin"} else [TO] if named & {"to", "destination"} else []
    for way in (*ways, PREPOSED):
        hits = [hit.strip() for hit in way.findall(text) if hit.lower() not in lexicon.MONTHS]
        if hits:
            return hits[:1]
    return _named(name, text)


def _reasons(name: str, _schema: dict[str, Any], text: str) -> list[Any]:
    return [match[1].strip() for match in BECAUSE.finditer(text)][:1]


def _prose(name: str, _schema: dict[str, Any], text: str) -> list[Any]:
    quoted = [quotation for quotation in values.quotations(text) if quotation]
    if quoted:
        first = {"title", "subject", "summary", "name"} & set(pieces(name))
        return quoted[:1] if first else quoted[-1:]
    return [match[1].strip() for match in SAYING.finditer(text)][:1]


def _texts(name: str, _schema: dict[str, Any], text: str) -> list[Any]:
    named = _named(name, text)
    if named:
        return named[:1]
    quoted = values.quotations(text)
    return quoted[:1] or [match[1].strip() for match in SAYING.finditer(text)][:1]


def _named(name: str, text: str) -> list[str]:
    """The word after the argument's own name: "priority: high", "room B12", "quantity of 3"."""
    nouns = [re.escape(piece) for piece in pieces(name) if piece not in IDENTIFYING]
    if not nouns:
        return []
    spaced = r"[\s_]{1,2}".join(nouns)
    label = re.compile(
        rf"\b{spaced}\b\s{{0,2}}(?:is|of|to|=|:|as)?\s{{1,2}}[\"“']?([\w.@/+-]{{1,80}})",
        re.IGNORECASE,
    )
    hits = [match[1].strip(".,") for match in label.finditer(text)]
    return [hit for hit in hits if hit and not ARTICLES.match(f"{hit} ")]


def _arrays(name: str, schema: dict[str, Any], text: str) -> list[Any]:
    items = schema.get("items")
    one = items if isinstance(items, dict) else {}
    if type_of(one) in {"array", "object"}:
        return []
    members = found(name, one, text, frozenset())
    quoted = values.quotations(text) if not members and type_of(one) == "string" else []
    return [members or quoted] if members or quoted else []


def _objects(_name: str, schema: dict[str, Any], text: str) -> list[Any]:
    parts = schema.get("properties")
    rows = parts if isinstance(parts, dict) else {}
    filled: dict[str, Any] = {}
    for name, part in rows.items():
        if isinstance(part, dict) and type_of(part) not in {"object", "array"}:
            hits = found(name, part, text, frozenset())
            filled |= {text_of(name): hits[0]} if hits else {}
    required = schema.get("required")
    needed = required if isinstance(required, list) else []
    return [filled] if filled and all(name in filled for name in needed) else []


FINDERS: dict[Kind, Callable[[str, dict[str, Any], str], list[Any]]] = {
    "array": _arrays,
    "boolean": _boolean,
    "currency": _currencies,
    "date": _dates,
    "datetime": _datetimes,
    "email": _emails,
    "enum": _enum,
    "integer": _integers,
    "money": _money,
    "number": _numbers,
    "object": _objects,
    "place": _places,
    "prose": _prose,
    "reason": _reasons,
    "text": _texts,
    "time": _times,
    "url": _urls,
}
