"""What a range query's answer means, number by number."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.range_answer import MALFORMED, decode_labels, decode_samples, decode_series

FLOATS = st.floats() | st.sampled_from([0.0, -0.0, 5e-324, 1.7976931348623157e308, 1 / 3])


def written(value: float) -> str:
    """Write a number as Prometheus does: shortest form, its own names for what is no number."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)


def raw(values: list[tuple[float, float]]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode([[time, written(value)] for time, value in values]))


@given(st.lists(st.tuples(st.integers(0, 2**33) | st.floats(0, 2**33), FLOATS)))
def test_numbers_are_those_that_were_written(values: list[tuple[float, float]]) -> None:
    expected = [number for pair in values for number in pair]
    np.testing.assert_array_equal(decode_samples(raw(values)), expected)


@pytest.mark.parametrize(
    "values",
    [b"5", b"null", b'"x"', b"{}", b"[[1]]", b'[[1,"2"],[3]]', b'[[1,"abc"]]', b'[[1,"1_0"]]',
     b'[[1,"+1"]]', b'[[1,""]]', b'[[1,null]]', b'[[1,"\xff"]]'],
)  # fmt: skip
def test_what_is_no_number(values: bytes) -> None:
    with pytest.raises(MALFORMED):
        decode_samples(msgspec.Raw(values))


def test_labels_keep_what_looks_like_numbers() -> None:
    answer = (
        b'{"status":"success","data":{"resultType":"matrix","result":['
        b'{"metric":{"le":"+Inf","q":"],\\"values\\":[["},"values":[[1,"+Inf"]]},'
        b'{"metric":{},"histograms":[[1,{"count":"1"}]]}]},"warnings":["w"]}'
    )
    first, second = decode_series(answer)
    assert decode_labels(first.metric) == {"le": "+Inf", "q": '],"values":[['}
    assert decode_samples(first.values) == [1.0, math.inf]
    assert decode_samples(second.values) == []


@pytest.mark.parametrize("answer", [b"[" * 100_000, b'{"data":' * 100_000, b'{"data":\xff}', b""])
def test_no_answer_at_all(answer: bytes) -> None:
    with pytest.raises(MALFORMED):
        decode_series(answer)
