import re
import sys
from types import ModuleType

import pytest

from memagent.errors import DocumentError, SetupError
from memagent.tasks import haystacks
from memagent.tasks.haystacks import haystack

RUN = 60  # characters


def runs(text):
    return {text[start : start + RUN] for start in range(len(text) - RUN + 1)}


def test_what_serves_for_training_never_serves_for_reporting():
    report, train = haystack("report"), haystack("train")
    assert not {*report.sentences} & {*train.sentences}
    assert not runs(" ".join(report.sentences)) & runs(" ".join(train.sentences))
    assert report.fingerprint != train.fingerprint


def test_both_texts_are_long_and_their_words_stand_one_space_apart():
    for kind in ("report", "train"):
        sentences = haystack(kind).sentences
        assert sum(map(len, sentences)) > 300_000
        assert all(sentence == " ".join(sentence.split()) != "" for sentence in sentences)
        assert max(map(len, sentences)) <= haystacks.LONGEST


def test_what_both_say_is_dropped_from_the_train_side_alone(monkeypatch):
    both = "This sentence, which is long enough to be told, stands in either text."
    within = f"Here it stands in the midst of another one: {both[:-1]} and so on."
    monkeypatch.setattr(haystacks, "language_reference", lambda: f"{both} Only the report says this.")
    monkeypatch.setattr(haystacks, "_docstrings", lambda: iter([f"{both} Only train says this.", within, "Short."]))
    haystack.cache_clear()
    try:
        assert haystack("report").sentences == (both, "Only the report says this.")
        assert haystack("train").sentences == (
            "Only train says this.",
            "Here it stands in the midst of another one:",
            "Short.",
        )
    finally:
        haystack.cache_clear()


def test_a_file_of_the_user_s(tmp_path):
    path = tmp_path / "tale.txt"
    path.write_text("One day, a boat\n  came.  It left again!\n\nA heading\n\nWho was aboard?\n", encoding="utf-8")
    found = haystack(str(path))
    assert found.sentences == ("One day, a boat came.", "It left again!", "A heading", "Who was aboard?")
    assert found.name == "tale.txt"
    other = tmp_path / "other.txt"
    other.write_text("Another text.", encoding="utf-8")
    assert haystack(str(other)).fingerprint != found.fingerprint


def test_any_document_that_can_be_read(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<html><body><h1>Tides</h1><p>They come. They go.</p></body></html>", encoding="utf-8")
    assert haystack(str(page)).sentences == ("Tides", "They come.", "They go.")


def test_a_sentence_without_end_is_cut_at_a_space(tmp_path):
    path = tmp_path / "list.txt"
    words = [f"word{number}" for number in range(300)]
    path.write_text(" ".join(words), encoding="utf-8")
    sentences = haystack(str(path)).sentences
    assert " ".join(sentences).split(" ") == words
    assert all(len(sentence) <= haystacks.LONGEST for sentence in sentences) and len(sentences) > 1
    unbroken = tmp_path / "unbroken.txt"
    unbroken.write_text("x" * 1000, encoding="utf-8")
    assert [len(piece) for piece in haystack(str(unbroken)).sentences] == [400, 400, 200]


@pytest.mark.parametrize(("content", "line"), [(None, "not found"), (b"", "empty"), (b" \n\n\t ", "empty")])
def test_a_file_without_text_is_one_line(content, line, tmp_path):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DocumentError) as caught:
        haystack(str(path))
    assert re.fullmatch(rf"[^\n]*text\.txt: {line}[^\n]*", str(caught.value))


@pytest.mark.parametrize("kind", ["report", "train"])
def test_a_python_without_the_text(kind, monkeypatch, tmp_path):
    if kind == "report":
        monkeypatch.setitem(sys.modules, "pydoc_data.topics", ModuleType("pydoc_data.topics"))
    else:
        monkeypatch.setattr(haystacks.sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    haystack.cache_clear()
    try:
        with pytest.raises(SetupError, match=r"^this Python comes without .*name a file of yours as haystack$"):
            haystack(kind)
    finally:
        haystack.cache_clear()
