"""What `masks` may hold: expressions, ranges of time, and days of the week."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, model_validator

from detector.fields import Strict, Text, Words, Zone, listed
from detector.masks import DAY
from detector.series import Span, Weekly

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")


def _moment(value: Any) -> str:
    """Return a date, a time or a time of the day as text; YAML has read most of them already."""
    if isinstance(value, date):
        return value.isoformat()
    # YAML 1.1 takes 22:00 without quotes for a number of base 60; one below 60 was no such thing.
    if isinstance(value, int) and not isinstance(value, bool) and 60 <= value <= DAY // 60:
        return f"{value // 60:02}:{value % 60:02}"
    text = str(value).strip()
    clock = _CLOCK.fullmatch(text)
    if clock and int(clock[2]) < 60 and _clock_seconds(text) <= DAY:
        return text
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f'{text[:40]!r} is no time; write "22:00" (in quotes) or 2025-12-24T18:00:00Z'
        ) from None
    return text


def _day(value: Any) -> Any:
    word = str(value).strip().lower()
    return word[:3] if word.endswith("day") else word


Moment = Annotated[str, BeforeValidator(_moment)]
Day = Annotated[
    Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
    BeforeValidator(_day),
]


class MaskSettings(Strict):
    """One mask: a query or a range of time, for all signals or some; a bare text is a query."""

    query: Text | None = None
    from_: Moment | None = Field(None, alias="from")
    to: Moment | None = None
    days: Annotated[list[Day], BeforeValidator(listed)] = []
    timezone: Zone | None = None
    signals: Words = []
    match: dict[str, Text] = {}

    @model_validator(mode="before")
    @classmethod
    def _query(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"query": given}
        if not isinstance(given, (dict, MaskSettings)):
            raise ValueError("write a query, or a range of time such as {from: ..., to: ...}")
        return given

    @model_validator(mode="after")
    def _meaningful(self) -> MaskSettings:
        meaning(self)
        return self


class MasksSettings(Strict):
    """What is not learnt from, and what is not alerted on."""

    train: list[MaskSettings] = []
    mute: list[MaskSettings] = []


def meaning(mask: MaskSettings) -> str | Span | Weekly:
    """Return what a mask tests.

    Raises
    ------
    ValueError
        When its keys do not make one test.
    """
    begin, end, zone = mask.from_, mask.to, mask.timezone or ""
    ranged = bool(begin or end or mask.days)
    if mask.query is not None:
        if ranged or zone:
            raise ValueError("a query stands alone; from, to, days and timezone are another mask")
        return mask.query
    if not ranged:
        raise ValueError("write a query, or from and to, or days")
    if begin is None or end is None:
        if begin or end:
            raise ValueError("from and to belong together")
        return Weekly(_numbers(mask.days), 0, DAY, zone)
    if bool(_CLOCK.fullmatch(begin)) != bool(_CLOCK.fullmatch(end)):
        raise ValueError("from and to must both be times of the day, or both dates")
    if _CLOCK.fullmatch(begin):
        if _clock_seconds(begin) % DAY == _clock_seconds(end) % DAY:
            raise ValueError("from and to are the same; leave both out for whole days")
        return Weekly(_numbers(mask.days), _clock_seconds(begin), _clock_seconds(end), zone)
    if mask.days:
        raise ValueError('days go with times of the day, such as from: "22:00", to: "06:00"')
    span = Span(_unix_seconds(begin, zone), _unix_seconds(end, zone))
    if span.end <= span.start:
        raise ValueError(f"to ({end}) must be later than from ({begin}); it is not included")
    return span


def _numbers(days: list[Day]) -> frozenset[int]:
    return frozenset(DAYS.index(day) for day in days or DAYS)


def _clock_seconds(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60


def _unix_seconds(text: str, zone: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(zone) if zone else UTC)
    return int(moment.timestamp())
