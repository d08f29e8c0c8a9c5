"""The exact mode against slices of the whole tokenisation."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.documents.helpers import SENTENCES, BytePairs, EveryFour

from memagent.documents import cut, open_document, slicing

PAIRS = BytePairs()
prose = st.lists(st.sampled_from(SENTENCES) | st.text(max_size=10), min_size=1, max_size=30).map(" ".join)
space = st.text(alphabet=" \n\t", max_size=12)


def expected(core, tokens):
    """Bytes of the ids in every slice, by the model's own offsets; cuts inside a character move behind it."""
    ends = PAIRS.ends(core)
    cuts = sorted({0, len(core), *(ends[count - 1] for count in range(tokens, len(ends) + 1, tokens))})
    return [core[start:end] for start, end in pairwise(cuts)]


@given(prose.filter(lambda text: text.strip()), space, space, st.integers(1, 30))
def test_exact_chunks_are_slices_of_the_whole_tokenisation(text, before, after, tokens):
    core = text.strip()
    chunks = list(cut(open_document(text=before + core + after), PAIRS, tokens=tokens, exact=True))
    slices = expected(core, tokens)
    slices[0] = before + slices[0]
    slices[-1] += after
    assert [chunk.text for chunk in chunks] == slices
    assert sum(chunk.tokens for chunk in chunks) == PAIRS.count(core)


def test_slices_of_plain_ascii_decode_to_the_ids_themselves():
    text = SENTENCES[0] * 20
    ids = PAIRS.encode(text).ids
    chunks = list(cut(open_document(text=text), PAIRS, tokens=37, exact=True))
    assert [chunk.text for chunk in chunks] == [PAIRS.model.decode(ids[at : at + 37]) for at in range(0, len(ids), 37)]
    assert {chunk.tokens for chunk in chunks[:-1]} == {37}


@given(
    prose.filter(lambda text: text.strip()),
    space,
    space,
    st.integers(1, 30),
    st.integers(2, 60),
    st.booleans(),
)
@example(SENTENCES[0] * 2 + " 0𐀀 def read(path):\n    return path", "", "", 3, 25, False)
@example((SENTENCES[0] + " ") * 5 + "0𐀀 def read(path):\n    return path.read_text()", "", "", 3, 25, False)
def test_long_documents_are_sliced_as_if_whole(text, before, after, tokens, section, with_bytes):
    document = open_document(text=before + text.strip() + after)
    max_bytes = 50 if with_bytes else None
    whole = [c.text for c in cut(document, PAIRS, tokens=tokens, exact=True, max_bytes=max_bytes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slicing, "WHOLE", 0)
        patch.setattr(slicing, "SECTION", section)
        parts = [c.text for c in cut(document, PAIRS, tokens=tokens, exact=True, max_bytes=max_bytes)]
    assert "".join(parts) == "".join(whole)
    if all(len(stretch) + 2 <= section for stretch in _unsplit(before + text.strip() + after)):
        assert parts == whole


def _unsplit(text):
    """The stretches of `text` between places where a byte-level pre-tokeniser always splits."""
    places = [
        at
        for at in range(1, len(text) - 1)
        if not text[at - 1].isspace() and text[at] == " " and unicodedata.category(text[at + 1])[0] == "L"
    ]
    return [text[start:end] for start, end in pairwise([0, *places, len(text)])]


def test_sections_without_a_safe_place_still_give_the_text_back(monkeypatch):
    monkeypatch.setattr(slicing, "WHOLE", 0)
    monkeypatch.setattr(slicing, "SECTION", 100)
    text = "x" * 1000 + "\n" * 500 + "1 2 3 " * 100 + "\n" * 300
    chunks = list(cut(open_document(text=text), EveryFour(), tokens=30, exact=True))
    assert "".join(chunk.text for chunk in chunks) == text
    assert all(chunk.text.strip() or not chunk.is_last for chunk in chunks)


def test_an_exact_slice_that_has_too_many_bytes_is_cut_further():
    text = "船在黎明时离开了港口。" * 50
    for chunk in cut(open_document(text=text), PAIRS, tokens=60, exact=True, max_bytes=31):
        assert len(chunk.text.encode()) <= 31
        assert chunk.tokens == PAIRS.count(chunk.text)
