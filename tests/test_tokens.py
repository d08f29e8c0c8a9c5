"""The estimate is consistent with itself in every script."""

from hypothesis import given
from hypothesis import strategies as st

from memagent.tokens import ByteEstimate, worst_case

estimate = ByteEstimate()


@given(st.text(max_size=300))
def test_ends_agree_with_the_count(text):
    ends = list(estimate.ends(text))
    assert len(ends) == estimate.count(text) == -(-worst_case(text) // 3)
    assert ends == sorted(ends)
    assert not text or ends[-1] == len(text)


@given(st.text(alphabet="ab c.", max_size=50))
def test_plain_ascii_goes_by_threes(text):
    assert list(estimate.ends(text)) == [min(at + 3, len(text)) for at in range(0, len(text), 3)]


@given(st.text(max_size=100))
def test_the_worst_case_is_never_below_the_estimate(text):
    assert worst_case(text) >= estimate.count(text)
