"""Prices as users write them."""

from __future__ import annotations

import pytest

from memagent.errors import OptionError
from memagent.models.base import Price
from memagent.models.prices import parse_price


def test_two_or_three_numbers():
    assert parse_price("0.15,0.60") == Price(0.15, 0.6)
    assert parse_price(" 0.15, 0.60 ,0.075") == Price(0.15, 0.6, 0.075)


@pytest.mark.parametrize("text", ["", "1", "1,2,3,4", "a,b", "1,", "-1,2", "nan,1", "inf,1", "0.15;0.60"])
def test_anything_else_is_told(text):
    with pytest.raises(OptionError, match="USD per million"):
        parse_price(text)


def test_cached_tokens_cost_the_same_unless_told():
    assert Price(1.0, 2.0).of(1000, 10, 400) == pytest.approx(0.00102)
    assert Price(1.0, 2.0, 0.5).of(1000, 10, 400) == pytest.approx(0.00082)
