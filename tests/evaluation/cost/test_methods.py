"""Counts of calls and tokens against the calls written out one by one, and against the reader's own read-ahead."""

import asyncio
from dataclasses import replace

import pytest

from memagent.errors import OptionError
from memagent.evaluation.cost.architecture import architecture
from memagent.evaluation.cost.comparison import DEVICES, Setting, as_json, compare, crossings
from memagent.evaluation.cost.flops import decode, prefill
from memagent.evaluation.cost.methods import Sizes, Work, call, dense, gated, paper, schedule
from memagent.models.base import Price
from memagent.reading.lookahead import Lookahead
from memagent.reading.result import Turn

MODEL = architecture("smollm2-135m")
SIZES = Sizes(question=50, chunk=1000, memory=64, answer=32)


def test_dense_is_one_call():
    work = dense(MODEL, SIZES, 3500)
    assert (work.calls, work.prompt_tokens, work.completion_tokens, work.context) == (1, 3550, 32, 3582)
    assert work.flops == pytest.approx(prefill(MODEL, 3550) + decode(MODEL, 31, past=3550))


def test_paper_writes_the_memory_at_each_chunk():
    calls = [call(MODEL, SIZES, prompt=200 + 50 + 64 + chunk, reply=64) for chunk in (1000, 1000, 1000, 500)]
    calls.append(call(MODEL, SIZES, prompt=100 + 50 + 64, reply=32))
    assert paper(MODEL, SIZES, 3500) == sum(calls, Work())
    assert paper(MODEL, SIZES, 3000).calls == 4


def test_gated_without_changes_decodes_one_token_a_chunk():
    work = gated(MODEL, replace(SIZES, change_rate=0.0), 3500)
    assert (work.calls, work.completion_tokens, work.cached_tokens) == (5, 4 + 32, 0)
    assert work.prompt_tokens == 4 * (200 + 50 + 64) + 3500 + 100 + 50 + 64
    assert work.resident == 4 * work.context  # four chunks at once, as there are no more


def test_gated_that_changes_at_every_chunk_is_paper_with_a_word_before_each_memory():
    work, other = gated(MODEL, replace(SIZES, change_rate=1.0), 3000), paper(MODEL, SIZES, 3000)
    assert (work.calls, work.prompt_tokens) == (other.calls, other.prompt_tokens)
    assert work.completion_tokens == other.completion_tokens + 3
    assert work.flops == pytest.approx(other.flops, rel=0.01) and work.flops > other.flops


def test_reuse_spares_the_chunk_but_not_the_call():
    tried = replace(SIZES, change_rate=0.2)
    with_reuse, without = gated(MODEL, tried, 40_000), gated(MODEL, replace(tried, reuse=False), 40_000)
    vain = schedule(40, tried)[1]
    assert vain > 0 and with_reuse.calls == without.calls == 41 + vain
    assert with_reuse.cached_tokens == vain * 1250 and without.cached_tokens == 0
    again = prefill(MODEL, 1314) - prefill(MODEL, 64, past=1250)
    assert without.flops - with_reuse.flops == pytest.approx(vain * again)


async def calls_of_the_reader(chunks, sizes):
    """The calls that the real read-ahead starts where the same chunks change the memory."""
    numbers, started = iter(range(chunks)), []

    async def next_chunk():
        return next(numbers, None)

    async def read(number, memory):
        started.append(number)
        await asyncio.sleep(0)
        changes = int((number + 1) * sizes.change_rate + 0.5) > int(number * sizes.change_rate + 0.5)
        after = f"m{number}" if changes else memory
        return [Turn(chunk=str(number), start=0, end=0, outcome="write", memory=after)]

    ahead = Lookahead(next_chunk, read, width=sizes.read_ahead, may_ahead=lambda: True)
    memories = {turns[-1].memory async for turns in ahead.turns("m")}
    return len(memories - {"m"}), len(started) - chunks


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.13, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("width", [1, 4, 16])
@pytest.mark.parametrize("chunks", [1, 2, 57])
async def test_the_schedule_is_the_readers(chunks, width, rate):
    sizes = Sizes(read_ahead=width, change_rate=rate)
    assert schedule(chunks, sizes) == await calls_of_the_reader(chunks, sizes)


def setting(**changes):
    return Setting(**{"model": architecture("qwen2.5-7b"), "sizes": Sizes(), "device": DEVICES["h100"], **changes})


def test_a_crossing_is_where_one_becomes_cheaper():
    found = crossings(setting(usd_per_hour=2.0))
    for method in ("paper", "gated"):
        length = found[method]["flops"]
        assert setting().row(method, length).flops < setting().row("dense", length).flops
        below = length - max(10, length // 500)
        assert setting().row(method, below).flops >= setting().row("dense", below).flops
    assert found["gated"]["seconds"] < found["paper"]["seconds"]
    assert found["gated"]["usd"] == found["gated"]["seconds"]


def test_a_price_a_token_never_makes_reading_cheaper():
    found = crossings(setting(price=Price(1.0, 2.0)))
    assert found["paper"]["usd"] is found["gated"]["usd"] is None and found["gated"]["flops"] is not None


def test_money_is_tokens_times_price_or_hours_times_rate():
    (row,) = [row for row in compare(setting(price=Price(1.0, 2.0)), [100_000]) if row.method == "dense"]
    assert row.usd == pytest.approx((101_024 * 1.0 + 1024 * 2.0) / 1e6)
    (row,) = [row for row in compare(setting(usd_per_hour=3.6), [100_000]) if row.method == "dense"]
    assert row.usd == pytest.approx(row.seconds / 1000)
    assert compare(setting(), [100])[0].usd is None


def test_what_does_not_fit_is_marked():
    rows = {row.method: row for row in compare(setting(), [4 * 1024**2])}
    assert not rows["dense"].fits_window and not rows["dense"].fits_memory
    assert rows["paper"].fits_window and rows["paper"].fits_memory
    # 57,344 bytes a token: 28 layers, keys and values, 4 heads of 128, two bytes each.
    assert rows["dense"].memory == pytest.approx(2 * 7.615e9 + 57_344 * rows["dense"].context, rel=1e-3)


def test_decoding_is_bound_by_reading_the_weights():
    row = setting().row("paper", 5000)
    steps = 1023 * 2  # of the memory and of the answer
    weights = 2 * (setting().model.weights - setting().model.head_weights)  # the embedding is looked up
    assert row.seconds > steps * weights / 3.35e12
    assert row.seconds < 1.2 * steps * weights / 3.35e12 + 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"chunk": 0}, "--chunk"), ({"read_ahead": 0}, "--read-ahead"), ({"change_rate": 1.5}, "--change-rate")],
)
def test_sizes_that_make_no_sense(changes, message):
    with pytest.raises(OptionError, match=message):
        compare(setting(sizes=Sizes(**changes)), [1000])


def test_json_has_everything():
    found = as_json(setting(), [8192, 4 * 1024**2])
    assert found["paper_formulae"][1]["dense"] == pytest.approx(2.14e19, rel=0.01)
    assert len(found["rows"]) == 6 and found["model"]["weights"] == 7_615_283_200
