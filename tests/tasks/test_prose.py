"""Facts in prose: what is said, asked and misleading fits together, for every relation."""

import gzip
import random
import re

import pytest

from memagent.errors import DocumentError, OptionError
from memagent.models.scripted import WordTokenizer
from memagent.scoring import metric_named
from memagent.tasks import prose
from memagent.tasks.facts import facts_of
from memagent.tasks.haystacks import haystack
from memagent.tasks.prose.fillers import KINDS, Fillers
from memagent.tasks.prose.relations import RELATIONS

WORDS = WordTokenizer()
SLOT = re.compile(r"{(\w+)}")


@pytest.fixture(scope="module")
def hay(tmp_path_factory):
    path = tmp_path_factory.mktemp("hay") / "essay.txt"
    path.write_text("".join(f"Sentence number {number} says nothing at all.\n" for number in range(300)))
    return str(path)


def sample(index, tokens=600, **given):
    return prose.sample(tokens, tokenizer=WORDS, index=index, **given)


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda one: one.says[0].text[:30])
def test_a_relation_says_what_it_asks_for(relation):
    slots = set(relation.slots)
    assert all(set(SLOT.findall(one.text)) == slots for one in relation.says) and len(relation.says) > 1
    for slot, ask in relation.asks:
        asked = SLOT.findall(ask.text)
        assert slot in slots and slot not in asked and set(asked) <= slots and ask.text.endswith("?")
    assert all("person" in slots and "person" not in SLOT.findall(one.text) for one in relation.calls)
    assert {slot.rstrip("0123456789") for slot in slots} <= KINDS


def test_the_answer_stands_in_the_facts_and_the_facts_in_the_text(hay):
    for index in range(120):
        problem = sample(index, haystack=hay)
        told = " ".join(" ".join(problem.facts).split())
        assert problem.answers[0].lower() in told.lower(), problem.question
        assert {fact.text for fact in facts_of(problem)} == set(problem.facts)
        assert metric_named(problem.metric)(f"\\boxed{{{problem.answers[0]}}}", problem.answers) == 1.0
        assert problem.answers[0].lower() not in problem.question.lower()


def test_some_questions_need_two_facts_and_most_texts_mislead(hay):
    problems = [sample(index, haystack=hay) for index in range(120)]
    two = [problem for problem in problems if len(problem.facts) == 2]
    assert 5 < len(two) < 50 and all(problem.notes["hops"] == len(problem.facts) for problem in problems)
    said = sum(not re.search(r"says nothing", line) for problem in problems for line in problem.context.split(". "))
    assert said > 3 * len(problems)


def test_a_problem_is_known_by_its_seed_and_index_at_every_length(hay):
    one, again, longer, other = sample(4), sample(4), sample(4, tokens=1200), sample(5)
    assert one == again and (longer.question, longer.answers) == (one.question, one.answers)
    assert other.question != one.question and sample(4, seed=1).question != one.question
    assert 900 < WORDS.count(longer.context) <= 1230
    assert {"Sentence" in sample(4, haystack=hay).context, "Sentence" in one.context} == {True, False}


def test_lines_are_broken_in_half_of_the_texts(hay):
    longest = [max(map(len, sample(index, haystack=hay).context.split("\n"))) for index in range(60)]
    assert 15 < sum(length <= 90 for length in longest) < 45


def test_too_few_tokens_are_refused():
    with pytest.raises(OptionError, match="at least 300 tokens"):
        sample(0, tokens=200)


def test_values_are_not_drawn_twice():
    fill = Fillers(random.Random(1))
    found = [fill.all(["person", "person2", "town"]) for _ in range(20)]
    names = [name for one in found for name in one.values()]
    assert len(names) == len(set(names))


def test_a_haystack_may_be_packed(tmp_path):
    path = tmp_path / "novel.txt.gz"
    path.write_bytes(gzip.compress(b"Call me Ishmael. Some years ago."))
    assert haystack(str(path)).sentences == ("Call me Ishmael.", "Some years ago.")
    (tmp_path / "broken.gz").write_bytes(b"no gzip")
    with pytest.raises(DocumentError, match="cannot be unpacked"):
        haystack(str(tmp_path / "broken.gz"))
