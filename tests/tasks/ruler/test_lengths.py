"""`length` is prompt tokens plus tokens to generate, never above the target and at most 1% below it."""

import re
from dataclasses import dataclass

import pytest

from memagent.errors import OptionError
from memagent.tasks import ruler
from memagent.tokens import ByteEstimate

NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."


def check(problem, tokens, tokenizer):
    whole = problem.head + problem.context + problem.tail + problem.answer_prefix
    assert problem.length == tokenizer.count(whole) + problem.max_tokens
    assert 0.99 * tokens <= problem.length <= tokens, problem.id


@pytest.mark.parametrize("task", ruler.GENERATED)
def test_every_task_by_every_tokenizer(task, each_tokenizer):
    for index, tokens in enumerate((4096, 4096, 4500, 6001)):
        check(ruler.sample(task, tokens, tokenizer=each_tokenizer, index=index), tokens, each_tokenizer)


@pytest.mark.parametrize("task", ruler.GENERATED)
def test_every_task_by_the_embedded_model_s_tokenizer(task, embedded_tokenizer):
    for index, tokens in enumerate((4096, 4096, 4096, 5000)):
        made = ruler.sample(task, tokens, tokenizer=embedded_tokenizer, seed=1, index=index)
        check(made, tokens, embedded_tokenizer)


@pytest.mark.parametrize("task", ruler.GENERATED)
def test_a_longer_problem(task, word_tokenizer):
    check(ruler.sample(task, 50_000, tokenizer=word_tokenizer), 50_000, word_tokenizer)


@dataclass
class Odd:
    """Counts that do not add up: a quarter more beyond the first 3,000 characters."""

    name = "odd"
    exact = True

    def count(self, text):
        size = ByteEstimate().count(text)
        return size + max(0, size - 1000) // 4

    def ends(self, text):
        raise NotImplementedError


@pytest.mark.parametrize("task", ruler.GENERATED)
@pytest.mark.parametrize("tokenizer", [ByteEstimate(), Odd()], ids=["estimate", "odd"])
def test_counts_that_do_not_add_up_are_found_out(task, tokenizer):
    check(ruler.sample(task, 8192, tokenizer=tokenizer), 8192, tokenizer)


def test_without_verifying_nothing_is_counted_in_the_end(word_tokenizer):
    for task in ruler.GENERATED:
        problem = ruler.sample(task, 6000, tokenizer=word_tokenizer, verify=False)
        assert problem.length is None
        size = word_tokenizer.count(problem.prompt(problem.context)) + problem.max_tokens
        assert size == pytest.approx(6000, rel=0.02)


def test_an_essay_is_cut_at_a_word(word_tokenizer, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen. " * 9)
    problem = ruler.sample("niah_single_2", 311, tokenizer=word_tokenizer, haystack=str(text), depths=[0])
    assert problem.length == 311
    assert re.search(r"(One|two|three|\w+teen|four|five|six|seven|eight|nine|ten|eleven|twelve)$", problem.context)
    assert problem.notes["units"] == len(problem.context.replace(problem.facts[0], "").split())


def test_noise_is_whole_lines_where_they_come_close_enough(word_tokenizer, byte_tokenizer):
    whole = ruler.sample("niah_single_1", 4096, tokenizer=word_tokenizer, depths=[0])
    assert whole.context.endswith(f"\n{NOISE}") and "cut" not in whole.notes
    # 90 tokens a line are 2% of 4,096: its last line is cut, at a word, and the notes say so.
    cut = [ruler.sample("niah_single_1", tokens, tokenizer=byte_tokenizer, depths=[0]) for tokens in (4096, 4125, 4150)]
    last = [one.context.rpartition("\n")[2] for one in cut]
    assert all(f"{NOISE} ".startswith(f"{line} ") for line in last) and any(line != NOISE for line in last)
    assert [("cut" in one.notes) for one in cut] == [line != NOISE for line in last]


def test_other_needles_are_drawn_until_they_come_close_enough(byte_tokenizer):
    """Only the hay is drawn again: the needle, its key and value stay."""
    made = [ruler.sample("niah_multikey_2", 4096 + i, tokenizer=byte_tokenizer, depths=[50]) for i in range(40)]
    redrawn = [one for one in made if one.notes.get("redraw")]
    assert redrawn and len({one.facts for one in made}) == len({one.answers for one in made}) == 1
    first = next(one for one in made if "redraw" not in one.notes)
    hay = {*first.context.split("\n")} - {*first.facts}
    assert all(not hay & {*one.context.split("\n")} for one in redrawn)
    for tokens, one in zip(range(4096, 4136), made, strict=True):
        check(one, tokens, byte_tokenizer)


def test_the_smallest_problem_is_named_and_can_be_made(each_tokenizer):
    for task in ruler.GENERATED:
        least = ruler.minimum(task, each_tokenizer)
        smallest = ruler.sample(task, least, tokenizer=each_tokenizer)
        assert smallest.length == least
        with pytest.raises(OptionError) as caught:
            ruler.sample(task, least - 1, tokenizer=each_tokenizer)
        assert str(caught.value) == f"{task} needs at least {least} tokens: {least - 1} are too few"


def test_cwe_has_its_words_less_often_where_the_whole_list_is_too_long(byte_tokenizer):
    assert ruler.sample("cwe", 4096, tokenizer=byte_tokenizer).notes["times"] == [6, 1]
    assert ruler.sample("cwe", 16_384, tokenizer=byte_tokenizer).notes["times"] == [30, 3]


def test_a_text_that_runs_out_is_repeated_and_the_notes_say_so(tmp_path, word_tokenizer):
    text = tmp_path / "text.txt"
    sentences = [f"Here is number {number}, which is said once." for number in range(300)]
    text.write_text(" ".join(sentences))
    long = ruler.sample("niah_single_2", 8000, tokenizer=word_tokenizer, haystack=str(text))
    assert long.notes["extended"] == "the text is repeated from its start"
    assert re.sub(r" +", " ", long.context.replace(long.facts[0], "")).strip().startswith(" ".join(sentences * 2))
    short = ruler.sample("niah_single_2", 2000, tokenizer=word_tokenizer, haystack=str(text))
    assert "extended" not in short.notes and "once. Here is number 0," not in short.context


def test_a_word_list_that_runs_out_is_continued_and_the_notes_say_so(word_tokenizer):
    short, long = (ruler.sample("cwe", tokens, tokenizer=word_tokenizer) for tokens in (8192, 100_000))
    assert long.notes["extended"] == "words beyond the word list are pairs adjective-noun"
    assert "extended" not in short.notes and "-" not in short.context
    assert re.search(r"\d\. [a-zA-Z]+-[a-zA-Z]+ ", long.context)
