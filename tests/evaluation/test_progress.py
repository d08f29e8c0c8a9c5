"""How much is done, and how much work each method is."""

import time

import pytest

from memagent.evaluation.progress import State, work


def test_shares_count_what_is_under_way():
    state = State(total=4, weight=200.0, weight_done=50.0)
    state.reading = {"a": (100.0, 0.5), "b": (50.0, 0.0)}
    assert state.share == 0.5
    assert State().share == 0.0 and State(weight=1.0, weight_done=2.0).share == 1.0


@pytest.mark.parametrize(
    ("kind", "length", "tokens"),
    [("reading", 65536, 65536), ("map-reduce", 65536, 65536), ("full", 4096, 4096), ("full", 65536, 0),
     ("full+yarn", 65536, 65536), ("truncated", 65536, 8192), ("bm25", 4096, 4096), ("no-context", 65536, 0)],
)  # fmt: skip
def test_what_a_method_reads(kind, length, tokens):
    frame = work("no-context", 1, 8192, in_documents=False)
    assert work(kind, length, 8192, in_documents=False) == tokens + frame > 0
    assert work("reading", 50, 8192, in_documents=True) > 50 * 100


def test_what_is_left_goes_by_this_sessions_pace():
    # A session that began at 60% came to 70% in a minute: three minutes are left.
    state = State(weight=100.0, weight_before=60.0, weight_done=70.0, began=time.monotonic() - 60)
    assert state.seconds_left == pytest.approx(180, rel=0.02)
