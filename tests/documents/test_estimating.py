"""Counting chunks beforehand."""

import pytest
from tests.documents.helpers import SENTENCES, BytePairs, EveryFour

from memagent.documents import cut, estimate, estimating, open_document
from memagent.documents.estimating import ChunkEstimate


@pytest.mark.parametrize("exact", [False, True])
def test_short_documents_are_counted(exact):
    document, tokenizer = open_document(text=" ".join(SENTENCES * 50)), BytePairs()
    chunks = list(cut(document, tokenizer, tokens=100, exact=exact))
    counted = ChunkEstimate(len(chunks), sum(chunk.tokens for chunk in chunks), True)
    assert estimate(document, tokenizer, tokens=100, exact=exact) == counted


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("stretch", [60_000, 2_000])
def test_long_documents_are_estimated_from_all_over(tmp_path, monkeypatch, exact, stretch):
    monkeypatch.setattr(estimating, "COUNTED", 1_000_000)
    monkeypatch.setattr(estimating, "STRETCH", stretch)
    path, tokenizer = tmp_path / "x.txt", EveryFour()
    path.write_text("Short words are so few. " * 50_000 + "Averylongwordthatgoesonandon. " * 50_000)
    document = open_document(path)
    guess = estimate(document, tokenizer, tokens=500, exact=exact)
    chunks = list(cut(document, tokenizer, tokens=500, exact=exact))
    assert not guess.exact
    assert guess.chunks == pytest.approx(len(chunks), rel=0.03)
    assert guess.tokens == pytest.approx(sum(chunk.tokens for chunk in chunks), rel=0.03)


def test_chunks_larger_than_the_sample_are_estimated_too(monkeypatch):
    monkeypatch.setattr(estimating, "COUNTED", 1000)
    monkeypatch.setattr(estimating, "STRETCH", 10)
    document = open_document(text="word " * 10_000)
    assert estimate(document, EveryFour(), tokens=5000).chunks == 3
