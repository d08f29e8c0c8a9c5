"""Tokenizers that differ: bytes, whole words, and subwords that were trained on the spot."""

import pytest
from tests.models import tiny
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from memagent.models.tokenizers import load_tokenizer

TEXT = "the special magic numbers for grass and sky are green and blue, assigned to variables that appear most often "


@pytest.fixture(scope="session")
def byte_tokenizer(tmp_path_factory):
    """About one token a character."""
    return load_tokenizer(str(tiny.write_tokenizer(tmp_path_factory.mktemp("bytes"))))


@pytest.fixture(scope="session")
def word_tokenizer(tmp_path_factory):
    """One token for each word and each run of punctuation; spaces are none."""
    built = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    built.pre_tokenizer = pre_tokenizers.Whitespace()
    return saved(built, tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="session")
def subword_tokenizer(tmp_path_factory):
    """Subwords over the bounds of words: spaces are letters, so a unit's tokens depend on what stands around it."""
    built = Tokenizer(models.BPE(unk_token="?"))
    built.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    alphabet = [chr(code) for code in range(32, 127)]
    built.train_from_iterator(
        [TEXT] * 3, trainers.BpeTrainer(vocab_size=400, special_tokens=["?"], initial_alphabet=alphabet)
    )
    return saved(built, tmp_path_factory.mktemp("subwords"))


@pytest.fixture(scope="session")
def embedded_tokenizer():
    """That of the embedded model, which `make model` fetched."""
    return load_tokenizer("smollm2-135m")


def saved(built, folder):
    built.save(str(folder / "tokenizer.json"))
    return load_tokenizer(str(folder))


@pytest.fixture(params=["byte_tokenizer", "word_tokenizer", "subword_tokenizer"])
def each_tokenizer(request):
    return request.getfixturevalue(request.param)
