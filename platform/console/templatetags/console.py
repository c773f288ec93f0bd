"""The only place for how values look on a page: moments, ids, money, sizes, durations, JSON."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import template
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from console import once as once_only
from console import sentences

register = template.Library()

TONES = {
    "active": "busy", "begun": "busy", "queued": "busy", "pending": "waits", "held": "waits",
    "waiting": "waits",
    "completed": "good", "ended": "good", "ready": "good", "approved": "good", "spent": "good",
    "failed": "bad", "denied": "bad", "rejected": "bad", "unknown": "bad", "refused": "bad",
}  # fmt: skip

MINUTE = timedelta(minutes=1)
NOISE = ("digest", "sha256", "idempotency_key")
"""What the name of a field ends with that only machines read."""
MEANINGLESS = re.compile(
    r"[0-9a-f]{64}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[\[{].*|", re.DOTALL
)
"""Values that say nothing to people: hashes, commitments, ids, objects, nothing."""


@register.simple_tag
def once() -> SafeString:
    """The field of a form that does its work once, however often its answer is loaded again."""
    field = '<input type="hidden" name="{}" value="{}">'
    return format_html(field, once_only.FIELD, once_only.token())


@register.filter
def moment(value: datetime | None) -> str | SafeString:
    """A moment as `2026-03-02 12:00`, the same in every country; the whole of it in its title."""
    if value is None:
        return "-"
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        value.isoformat(timespec="seconds"),
        value.strftime("%Y-%m-%d %H:%M:%S"),
        value.strftime("%Y-%m-%d %H:%M"),
    )


@register.filter
def age(value: datetime | None) -> str | SafeString:
    """How long ago a moment was, in its largest unit; the moment itself in its title."""
    if value is None:
        return "-"
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        value.isoformat(timespec="seconds"),
        value.strftime("%Y-%m-%d %H:%M:%S"),
        timesince(value, depth=1) if timezone.now() - value >= MINUTE else "less than a minute",
    )


@register.inclusion_tag("console/components/_id.html")
def short_id(value: object) -> dict[str, str]:
    """The end of a long id, with a button that copies all of it."""
    text = str(value)
    return {"whole": text, "short": text if len(text) <= 12 else f"…{text[-8:]}"}


@register.inclusion_tag("console/components/_state.html")
def state(value: str, label: str) -> dict[str, str]:
    """A state as a coloured mark with its name."""
    return {"tone": TONES.get(str(value), "calm"), "label": label}


@register.filter
def money(micros: int | None) -> str:
    """Micros of a dollar as dollars, with at least two and at most six decimals."""
    whole, rest = divmod(int(micros or 0), 1_000_000)
    decimals = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"${whole:,}.{decimals}"


@register.filter
def size(count: int) -> str:
    """A number of bytes as people say it."""
    for unit, step in (("MB", 1_000_000), ("kB", 1_000)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count} B"


@register.simple_tag
def duration(start: datetime | None, end: datetime | None) -> str:
    """The time between two moments: `0.42 s`, `3 min 5 s`, `2 h 4 min`."""
    if start is None or end is None:
        return "-"
    return lasted(end - start)


@register.filter
def lasted(time: timedelta) -> str:
    """A length of time in its largest units."""
    seconds = max(time.total_seconds(), 0.0)
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < 10:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{minutes} min {rest} s" if hours < 1 else f"{hours} h {minutes_left} min"


@register.filter
def json(value: Any) -> str:
    """Indented JSON."""
    return sentences.as_json(value)


@register.filter
def hexadecimal(value: bytes | memoryview | None) -> str:
    """Bytes in hexadecimal."""
    return bytes(value).hex() if value is not None else ""


@register.filter
def pairs(value: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values of a JSON object; `.items` in a template would find a key of that name."""
    return [(name, sentences.as_text(part)) for name, part in value.items() if part is not None]


@register.filter
def gist(value: dict[str, Any]) -> list[tuple[str, str]]:
    """The few fields of an event that say most to people: no hashes, no ids, no objects, unless
    there is nothing else.
    """
    said = [(name, part) for name, part in pairs(value) if not name.endswith(NOISE)]
    return [each for each in said if not MEANINGLESS.fullmatch(each[1])][:4] or said[:1]


@register.filter
def passage_address(identifier: object) -> str:
    """Where a passage is shown; "" for what is no id: tools choose their results."""
    try:
        return reverse("console:passage", args=[UUID(str(identifier))])
    except ValueError:
        return ""


@register.filter
def named(identifier: object, names: dict[str, str]) -> str:
    """The name of whoever has this id, or the id where it has none (any more)."""
    return names.get(str(identifier), str(identifier))


@register.filter
def person(name: str | None, names: dict[str, str]) -> str:
    """A data subject's name ("member:<id>", "person:Erika") as people say it; "" for nobody's."""
    return named((name or "").partition(":")[2], names)


@register.filter
def list_of(words: list[str] | tuple[str, ...]) -> str:
    """Words with commas between them."""
    return ", ".join(words)
