import pytest
from tests.models import tiny

from memagent.models.tokenizers import load_tokenizer
from memagent.tasks.measure import Measure, measure_of
from memagent.tokens import ByteEstimate


class Counting:
    """A word is a token; how often it was asked is known."""

    name = "counting"
    exact = True

    def __init__(self):
        self.asked = []

    def count(self, text):
        self.asked.append(text)
        return len(text.split())

    def ends(self, text):
        raise NotImplementedError


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load_tokenizer(str(tiny.write_tokenizer(tmp_path_factory.mktemp("tokenizer"))))


def test_units_add_up_to_the_whole(tokenizer):
    measure = Measure(tokenizer)
    units = ["\nThe tide is high.", "\nIn the inn", " there is", ".", " the-inn"]
    start = "A tale."
    whole = start + "".join(units)
    assert measure.exact(start) + sum(map(measure.unit, units)) == measure.exact(whole) == tokenizer.count(whole)


def test_a_unit_is_counted_once_and_a_single_one_every_time():
    tokenizer = Counting()
    measure = Measure(tokenizer)
    tokenizer.asked.clear()
    assert [measure.unit(" two words"), measure.unit(" two words")] == [2, 2] and len(tokenizer.asked) == 1
    assert [measure.once(" two words"), measure.once(" two words")] == [2, 2] and len(tokenizer.asked) == 3


def test_a_mark_is_counted_behind_a_word(tokenizer):
    assert Measure(tokenizer).unit(".") == tokenizer.count("word.") - tokenizer.count("word")


def test_running_sums_are_remembered_by_their_key():
    tokenizer = Counting()
    measure = Measure(tokenizer)
    assert measure.sums("text", [" one", " two three", " four"]) == [1, 3, 4]
    tokenizer.asked.clear()
    assert measure.sums("text", [" not asked"]) == [1, 3, 4] and not tokenizer.asked
    assert measure.sums("other", [" a b"]) == [2]


def test_a_number_is_never_longer_than_its_measure(tokenizer):
    """Digits are tokens of their own here; by the estimate a number's tokens are a third of its letters."""
    assert [Measure(tokenizer).number(digits) for digits in (1, 2, 5)] == [
        tokenizer.count("x. " + "7" * digits) - tokenizer.count("x.") for digits in (1, 2, 5)
    ]
    estimate = Measure(ByteEstimate())
    assert all(estimate.once(f" {number}") <= estimate.number(3) for number in range(100, 1000))


def test_each_tokenizer_has_its_own_measure(tokenizer):
    mine, other = measure_of(tokenizer), measure_of(Counting())
    assert mine is not other and measure_of(tokenizer).tokenizer is tokenizer
    assert measure_of(tokenizer) is measure_of(tokenizer)
