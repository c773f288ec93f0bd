"""The only place that finds values in text: money, dates, times, addresses, numbers, quotations."""

from __future__ import annotations

import re
from datetime import date, time
from decimal import Decimal

import msgspec

from gateway.providers.offline import lexicon

SYMBOLS = {"€": "EUR", "$": "USD", "£": "GBP"}
NAMES = {"euro": "EUR", "euros": "EUR", "dollar": "USD", "dollars": "USD", "pounds": "GBP"}
CODES = "EUR|USD|GBP|CHF|CAD|AUD|NZD|SEK|NOK|DKK|PLN|CZK"
UNSIGNED = (
    r"(?:\d{1,3}(?:,\d{3}){1,4}(?:\.\d{1,2})?|\d{1,3}(?:\.\d{3}){1,4},\d{1,2}"
    r"|\d{1,12}(?:[.,]\d{1,2})?)(?!\d|[.,]\d)"
)
NUMBER = rf"(?<![\w.,-]){UNSIGNED}"
MONEY = re.compile(
    rf"(?<![\w-])(?P<before>[€$£]|(?:{CODES})\b|US\$)\s?(?P<a>{UNSIGNED})"
    rf"|(?P<b>{NUMBER})\s?(?P<after>[€$£]|(?:{CODES})\b|(?:euros?|dollars?|pounds)\b)(?!\s?\d)",
    re.IGNORECASE,
)
CENTS = re.compile(r"(?P<n>(?<![\w.,-])\d{1,12})\s?(?:euro\s?)?cents?\b", re.IGNORECASE)
DECIMAL = re.compile(r"(?<![\w.,:/-])\d{1,12}[.,]\d{2}(?![\d]|[.,:/-]\d|\s?%)")
ISO_DATE = re.compile(r"(?<!\d)(\d{4})-(\d{2})-(\d{2})(?!\d)")
MONTH = "|".join(sorted(lexicon.MONTHS, key=len, reverse=True))
DAY_MONTH = re.compile(
    rf"\b(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?({MONTH})\b\.?,?\s+(\d{{4}})\b", re.IGNORECASE
)
MONTH_DAY = re.compile(
    rf"\b({MONTH})\b\.?\s+(\d{{1,2}})(?:st|nd|rd|th)?,?\s+(\d{{4}})\b", re.IGNORECASE
)
CLOCK = re.compile(
    r"(?<![\d:.])(\d{1,2})(?::(\d{2}))(?::\d{2})?\s?(am|pm)?\b|(?<![\d:.])(\d{1,2})\s?(am|pm)\b",
    re.IGNORECASE,
)
EMAIL = re.compile(r"[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}")
URL = re.compile(r"https?://[^\s<>\"'”)\]]+", re.IGNORECASE)
QUOTE = re.compile(
    r"\"([^\"\n]{1,2000})\"|“([^”\n]{1,2000})”|«([^»\n]{1,2000})»|(?<!\w)'([^'\n]{1,500})'(?!\w)"
)
WHOLE = re.compile(r"(?<![\w.,:/-])\d{1,12}(?![\w:/-]|[.,]\d)")
COUNTED = re.compile(
    r"\s*(?:%|percent|days?|weeks?|months?|years?|hours?|minutes?|kg|cm)\b", re.IGNORECASE
)


class Sum(msgspec.Struct, frozen=True):
    """An amount of money: minor units (hundredths) and the currency's code, if one was named."""

    minor: int
    currency: str | None

    @property
    def major(self) -> Decimal:
        """The amount in whole units of the currency."""
        return Decimal(self.minor) / 100


def sums(text: str) -> list[Sum]:
    """Amounts with a currency in order ("35.00 EUR", "€35", "$1,250.50", "3500 cents").

    Where there is none, bare numbers with two decimals ("35.00") are taken for amounts.
    """
    found = [(match.start(), _sum(match)) for match in MONEY.finditer(text)]
    found += [(match.start(), Sum(int(match["n"]), None)) for match in CENTS.finditer(text)]
    if not found:
        found = [
            (match.start(), Sum(minor(match.group()), None)) for match in DECIMAL.finditer(text)
        ]
    return [value for _, value in sorted(found, key=lambda pair: pair[0])]


def minor(number: str) -> int:
    """Hundredths of a number as people write it: "1,250.50", "1.250,50", "35", "35,00"."""
    whole, mark, fraction = number, "", ""
    if len(number) > 3 and number[-3] in ".,":
        whole, mark, fraction = number[:-3], number[-3], number[-2:]
    elif len(number) > 2 and number[-2] in ".,":
        whole, mark, fraction = number[:-2], number[-2], number[-1] + "0"
    digits = re.sub(r"[.,]", "", whole)
    return int(digits) * 100 + (int(fraction) if mark else 0)


def dates(text: str) -> list[str]:
    """Dates as ISO 8601 in order: ISO ones, "3 March 2026" and "March 3, 2026"; no relative ones.

    "tomorrow" has no date here: whoever answers reads no clock.
    """
    found: dict[int, str | None] = {}
    for match in ISO_DATE.finditer(text):
        found[match.start()] = _date(*match.groups())
    for match in DAY_MONTH.finditer(text):
        found[match.start()] = _date(match[3], _month(match[2]), match[1])
    for match in MONTH_DAY.finditer(text):
        found[match.start()] = _date(match[3], _month(match[1]), match[2])
    return [value for _, value in sorted(found.items()) if value]


def times(text: str) -> list[str]:
    """Times of day as HH:MM in order: "14:00", "2 pm", "2:30pm"."""
    found = []
    for match in CLOCK.finditer(text):
        hour, minute = int(match[1] or match[4]), int(match[2] or 0)
        half = (match[3] or match[5] or "").lower()
        if half and not 1 <= hour <= 12:
            continue
        hour = hour % 12 + (12 if half == "pm" else 0) if half else hour
        if hour < 24 and minute < 60:
            found.append(time(hour, minute).isoformat("minutes"))
    return found


def emails(text: str) -> list[str]:
    """E-mail addresses in order."""
    return [match.group() for match in EMAIL.finditer(text)]


def urls(text: str) -> list[str]:
    """Web addresses in order, without the sentence's own punctuation."""
    return [match.group().rstrip(".,;:!?") for match in URL.finditer(text)]


def quotations(text: str) -> list[str]:
    """What stands between quotation marks, in order."""
    return [next(filter(None, match.groups())).strip() for match in QUOTE.finditer(text)]


def integers(text: str) -> list[int]:
    """Whole numbers that are not part of money, dates, times or measures; then number words."""
    plain = masked(text)
    found = [
        int(match.group())
        for match in WHOLE.finditer(plain)
        if not COUNTED.match(plain, match.end())
    ]
    spelled = re.findall(rf"\b({'|'.join(lexicon.NUMBER_WORDS)})\b", plain.lower())
    return found or [lexicon.NUMBER_WORDS[word] for word in spelled]


def masked(text: str) -> str:
    """`text` with money, dates, times, e-mail and web addresses blanked out, of equal length."""
    patterns = (URL, EMAIL, ISO_DATE, DAY_MONTH, MONTH_DAY, MONEY, CENTS, CLOCK)
    for pattern in patterns:
        text = pattern.sub(lambda match: " " * len(match.group()), text)
    return DECIMAL.sub(lambda match: " " * len(match.group()), text)


def _sum(match: re.Match[str]) -> Sum:
    unit = (match["before"] or match["after"]).lower()
    symbol = unit.removeprefix("us")
    return Sum(
        minor=minor(match["a"] or match["b"]),
        currency=SYMBOLS.get(symbol) or NAMES.get(unit) or NAMES.get(f"{unit}s") or unit.upper(),
    )


def _month(name: str) -> str:
    return str(lexicon.MONTHS[name.lower()])


def _date(year: str, month: str, day: str) -> str | None:
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return None
