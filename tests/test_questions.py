"""The twenty questions are what benchmarks/questions.py says they are."""

import json
from pathlib import Path

import pytest

from memagent.reading.words import sentences, substance

QUESTIONS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "benchmarks" / "language-reference.jsonl").read_text().splitlines()
]
ENDINGS = ("ing", "ies", "ed", "es", "s")


@pytest.fixture(scope="module")
def document():
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics))


def stem(word):
    found = next((ending for ending in ENDINGS if word.endswith(ending) and len(word) - len(ending) >= 3), "")
    return word[: len(word) - len(found)]


def content(text):
    return {stem(word) for word in substance(text)}


def test_there_are_twenty_in_two_kinds():
    assert [one["task"] for one in QUESTIONS] == ["plain"] * 10 + ["paraphrased"] * 10
    assert len({one["question"] for one in QUESTIONS}) == 20


def test_each_is_answered_by_a_passage_of_the_document(document):
    for one in QUESTIONS:
        assert one["notes"]["passage"] in document, one["question"]


def test_paraphrased_ones_share_no_words_with_the_document(document):
    told = [document[start:end] for start, end in sentences(document)]
    words = [content(sentence) for sentence in told]
    for one in QUESTIONS[10:]:
        asked = content(one["question"])
        assert len(asked) >= 3, one["question"]
        assert max(len(asked & found) for found in words) <= 1, one["question"]
        passage = one["notes"]["passage"]
        (answering, *_) = (found for sentence, found in zip(told, words, strict=True) if passage in sentence)
        assert not asked & answering, one["question"]
