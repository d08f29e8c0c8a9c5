"""Each problem is solved from its context alone, by other means than the generator's, and the answers are the same."""

import math
import re
from collections import Counter

import pytest

from memagent.tasks import ruler
from memagent.tasks.ruler import drawing

NEEDLE = re.compile(r"One of the special magic (?:numbers|uuids) for (\S+) is: (\S+)\.(?=\s|$)")
NIAH = [task for task in ruler.GENERATED if task.startswith("niah")]


@pytest.mark.parametrize("task", NIAH)
@pytest.mark.parametrize("index", [0, 1])
def test_niah_by_reading_the_needles(task, index, word_tokenizer):
    problem = ruler.sample(task, 5000, tokenizer=word_tokenizer, seed=5, index=index)
    asked = re.search(r" for (.*) mentioned", problem.question)[1].replace(", and ", ", ").split(", ")
    found = NEEDLE.findall(problem.context)
    told = {key: [value for name, value in found if name == key] for key in asked}
    assert sorted(value for key in asked for value in told[key]) == sorted(problem.answers)
    # Keys come in the order of the question.
    values = len(problem.answers) // len(asked)
    assert [sorted(problem.answers[i * values :][:values]) for i in range(len(asked))] == [
        sorted(told[key]) for key in asked
    ]


@pytest.mark.parametrize("task", NIAH)
@pytest.mark.parametrize("index", [0, 1, 2])
def test_no_key_and_no_value_stands_in_the_hay(task, index, word_tokenizer):
    problem = ruler.sample(task, 5000, tokenizer=word_tokenizer, index=index)
    per_key = Counter(key for key, _ in NEEDLE.findall(problem.context) if key in problem.notes["keys"])
    assert {key: problem.context.count(key) for key in problem.notes["keys"]} == per_key
    assert [problem.context.count(value) for value in problem.answers] == [1] * len(problem.answers)
    assert all(problem.context.count(fact) == 1 for fact in problem.facts)
    assert len(problem.facts) == len(problem.answers)


@pytest.mark.parametrize("index", range(8))
def test_no_key_of_the_hay_is_like_the_one_asked_for(index, monkeypatch, word_tokenizer):
    """With few words to draw from, many keys begin or end alike: `sad-ab`, `sad-abab`."""
    nouns = tuple(letter * times for letter in ("ab", "cd", "ef", "gh") for times in range(1, 30))
    monkeypatch.setattr(drawing, "adjectives_and_nouns", lambda: (("sad", "glad"), nouns))
    problem = ruler.sample("niah_multikey_2", 1500, tokenizer=word_tokenizer, index=index, seed=1)
    (asked,) = problem.notes["asked"]
    others = [key for key, _ in NEEDLE.findall(problem.context) if key != asked]
    assert problem.context.count(asked) == 1 and not [key for key in others if key in asked]
    keys = ruler.sample("niah_multiquery", 1500, tokenizer=word_tokenizer, index=index).notes["keys"]
    assert not [(one, other) for one in keys for other in keys if one != other and one in other]


def test_no_key_is_in_the_text_of_an_essay(tmp_path, word_tokenizer):
    """The words of the keys that would be drawn first are made the text; others are drawn."""
    first = ruler.sample("niah_multiquery", 4096, tokenizer=word_tokenizer)
    said = tmp_path / "said.txt"
    said.write_text(" ".join(f"They spoke of {key} and {first.answers[0]}." for key in first.notes["keys"]))
    problem = ruler.sample("niah_multiquery", 4096, tokenizer=word_tokenizer, haystack=str(said))
    assert not {*problem.notes["keys"]} & {*first.notes["keys"]}
    assert first.answers[0] not in problem.answers


@pytest.mark.parametrize("index", range(4))
def test_vt_by_following_the_chain(index, word_tokenizer):
    problem = ruler.sample("vt", 4096, tokenizer=word_tokenizer, index=index)
    value = re.search(r"the value (\d{5})", problem.question)[1]
    assigned = re.findall(r"^VAR ([A-Z]{5}) = (?:VAR )?(\w{5})\s*$", problem.context, re.MULTILINE)
    holding, grew = {value}, True
    while grew:
        more = {name for name, source in assigned if source in holding}
        grew = not more <= holding
        holding |= more
    assert holding - {value} == {*problem.answers} and len(assigned) == len(problem.answers) == 5
    # What a variable takes was assigned before it.
    assert [source for _, source in assigned[1:]] == [name for name, _ in assigned[:-1]]
    assert problem.facts == tuple(line.strip() for line in problem.context.split("\n") if line.startswith("VAR"))


@pytest.mark.parametrize("tokens", [4096, 120_000])  # the longer one has more words than there are on the list
def test_cwe_by_counting(tokens, word_tokenizer):
    problem = ruler.sample("cwe", tokens, tokenizer=word_tokenizer)
    counts = Counter(re.findall(r"\d+\. (\S+)", problem.context))
    (*top, (_, next_count)) = counts.most_common(11)
    assert {word for word, _ in top} == {*problem.answers} and {count for _, count in top} == {30}
    assert {*counts.values()} == {30, 3} and next_count == 3
    # No common word is a part of a pair either.
    parts = {part for word in counts if "-" in word for part in word.split("-")}
    assert not parts & {*problem.answers}


@pytest.mark.parametrize("tokens", [600, 4096, 60_000])
@pytest.mark.parametrize("index", [0, 1])
def test_fwe_by_counting(tokens, index, word_tokenizer):
    problem = ruler.sample("fwe", tokens, tokenizer=word_tokenizer, index=index)
    counts = Counter(problem.context.split(" "))
    (dots, most), *top = counts.most_common(4)
    assert dots == "..." and tuple(word for word, _ in top) == problem.answers
    ranked = sorted(counts.values(), reverse=True)
    assert ranked[0] > ranked[1] > ranked[2] > ranked[3] > ranked[4]
    # n / (zeta(2) k²) for rank k, rounded down: from the first count follow bounds for all others.
    for rank, count in enumerate(ranked, start=1):
        assert math.floor(most / rank**2) <= count <= (most + 1) / rank**2
    assert problem.notes["counts"] == counts.most_common(5)


@pytest.mark.parametrize("depth", [0, 10, 37.5, 50, 99, 100])
def test_a_needle_stands_at_the_depth_asked_for(depth, tmp_path, word_tokenizer):
    text = tmp_path / "text.txt"
    text.write_text(" ".join(f"This is sentence {number}." for number in range(5000)))
    problem = ruler.sample("niah_single_2", 4096, tokenizer=word_tokenizer, haystack=str(text), depths=[depth])
    before, _, behind = problem.context.partition(problem.facts[0])
    above, below = len(re.findall(r"This", before)), len(re.findall(r"This", behind))
    assert above == int((above + below) * depth / 100)
    assert problem.notes["depths"] == [depth]


def test_each_of_several_needles_has_its_depth(tmp_path, word_tokenizer):
    text = tmp_path / "text.txt"
    text.write_text(" ".join(f"This is sentence {number}." for number in range(5000)))
    depths = [80, 20, 0, 60]
    problem = ruler.sample("niah_multiquery", 4096, tokenizer=word_tokenizer, haystack=str(text), depths=depths)
    stretches = re.split(r"One of the special magic numbers for \S+ is: \d+\.", problem.context)
    counts = [stretch.count("This") for stretch in stretches]
    total = sum(counts)
    assert [sum(counts[: i + 1]) for i in range(4)] == [int(total * depth / 100) for depth in sorted(depths)]


def test_lines_have_depths_too(word_tokenizer):
    for task in ("niah_single_1", "niah_multikey_3"):
        problem = ruler.sample(task, 4096, tokenizer=word_tokenizer, depths=[25])
        lines = problem.context.split("\n")
        assert lines.index(problem.facts[0]) == int((len(lines) - 1) * 0.25)


def test_without_depths_an_essay_has_ruler_s_forty_places(word_tokenizer):
    seen = {
        depth
        for index in range(60)
        for depth in ruler.sample("niah_multivalue", 400, tokenizer=word_tokenizer, index=index).notes["depths"]
    }
    # numpy.round(numpy.linspace(0, 100, 40))
    places = [0, 3, 5, 8, 10, 13, 15, 18, 21, 23, 26, 28, 31, 33, 36, 38, 41, 44, 46, 49]
    assert sorted(seen) == [*places, *(100 - place for place in reversed(places))]
