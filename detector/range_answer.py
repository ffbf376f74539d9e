"""Decodes the answer to a range query, series by series.

Labels and samples stay the bytes they came as until they are asked for: labels that were seen
before are looked up by their bytes, and the numbers of one series at a time become objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

Content = bytes | bytearray
# What decoding raises: bad JSON, another shape, text that is no UTF-8, brackets without end.
MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

NO_VALUES = msgspec.Raw(b"[]")


class Sampled(msgspec.Struct, gc=False):
    """One series of an answer; without `values` where all its samples are native histograms."""

    metric: msgspec.Raw
    values: msgspec.Raw = NO_VALUES


class _Matrix(msgspec.Struct):
    resultType: Literal["matrix"]  # noqa: N815  # the API's name
    result: list[Sampled]


class _Answer(msgspec.Struct):
    data: _Matrix


_ANSWER = msgspec.json.Decoder(_Answer)
_LABELS = msgspec.json.Decoder(dict[str, str])
# Not strict: values are numbers in strings.
_NUMBERS = msgspec.json.Decoder(list[float], strict=False)


def decode_series(content: Content) -> Sequence[Sampled]:
    """Return the series of an answer; they refer to its bytes.

    Raises
    ------
    One of MALFORMED
        Also when the answer is of another kind, such as an error.
    """
    return _ANSWER.decode(content).data.result


def decode_labels(metric: Content) -> dict[str, str]:
    """Return the labels of a series, its metric name among them.

    Raises
    ------
    One of MALFORMED
    """
    return _LABELS.decode(metric)


def decode_samples(values: msgspec.Raw) -> list[float]:
    """Return time, value, time, value... of a series.

    Raises
    ------
    One of MALFORMED
        When they are no pairs of time and number.

    Examples
    --------
    >>> decode_samples(msgspec.Raw(b'[[60,"1.5"],[120.5,"+Inf"]]'))
    [60.0, 1.5, 120.5, inf]
    """
    # A flat list needs no object for each pair: a quarter less time.
    flat = b"[" + bytes(values).translate(None, b"[]") + b"]"
    try:
        numbers = _NUMBERS.decode(flat)
    except msgspec.ValidationError:
        # The one number Prometheus writes that the library does not know.
        numbers = _NUMBERS.decode(flat.replace(b'"+Inf"', b'"Inf"'))
    if len(numbers) % 2:
        raise msgspec.ValidationError("a time without a value")
    return numbers


def decode_any(content: Content) -> object:
    """Return JSON as Python's own objects.

    Raises
    ------
    One of MALFORMED
    """
    return msgspec.json.decode(content)
