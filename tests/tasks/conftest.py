"""Tokenizers that differ, and counts that do not add up."""

from dataclasses import dataclass

import pytest

from memagent.models.scripted import WordTokenizer
from memagent.models.tokenizers import load_tokenizer


@dataclass
class Odd:
    """Counts that do not add up: a quarter more beyond the first 1,000 words."""

    name = "odd"
    exact = True

    def count(self, text):
        size = WordTokenizer().count(text)
        return size + max(0, size - 1000) // 4

    def ends(self, text):
        return WordTokenizer().ends(text)


@pytest.fixture(scope="session")
def words():
    return WordTokenizer()


@pytest.fixture(scope="session")
def embedded():
    """That of the embedded model, which `make model` fetched."""
    return load_tokenizer("smollm2-135m")


@pytest.fixture(params=["words", "odd", "embedded"])
def tokenizer(request):
    return Odd() if request.param == "odd" else request.getfixturevalue(request.param)
