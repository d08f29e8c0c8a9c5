"""Seed and index decide a problem, and nothing else does; its length only decides how much hay there is."""

import hashlib
import os
import subprocess
import sys

import pytest

from memagent.tasks import ruler


@pytest.mark.parametrize("task", ruler.GENERATED)
def test_the_same_seed_gives_the_same_problem_and_another_another(task, word_tokenizer):
    def made(**changes):
        return ruler.sample(task, 4096, tokenizer=word_tokenizer, **{"seed": 1, "index": 2, **changes})

    assert made() == made()
    others = [made(), made(seed=2), made(index=3)]
    assert len({one.context for one in others}) == len({one.answers for one in others}) == 3
    assert len({one.id for one in others}) == 3


@pytest.mark.parametrize("task", ruler.GENERATED)
def test_the_needles_are_the_same_at_every_length_and_by_every_tokenizer(task, word_tokenizer, byte_tokenizer):
    made = [ruler.sample(task, tokens, tokenizer=word_tokenizer, seed=4) for tokens in (4096, 8000, 30_000)]
    made.append(ruler.sample(task, 20_000, tokenizer=byte_tokenizer, seed=4))
    assert len({(one.question, one.answers, one.facts, one.answer_prefix) for one in made}) == 1
    assert len({len(one.context) for one in made}) == 4


def test_a_longer_haystack_begins_as_a_shorter_one(word_tokenizer):
    short, long = (
        ruler.sample("niah_multikey_2", tokens, tokenizer=word_tokenizer, depths=[100]).context.split("\n")[:-1]
        for tokens in (4096, 8192)
    )
    assert long[: len(short)] == short and len(long) > len(short)


def test_the_hash_seed_of_python_does_not_matter():
    script = (
        "import hashlib\n"
        "from memagent.tasks import ruler\n"
        "from memagent.tokens import ByteEstimate\n"
        "for task in ruler.GENERATED:\n"
        "    made = ruler.sample(task, 5000, tokenizer=ByteEstimate(), seed=7)\n"
        "    print(hashlib.sha256(repr(made).encode()).hexdigest())\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    ]
    assert runs[0] == runs[1] and len({*runs[0].split()}) == len(ruler.GENERATED)


@pytest.mark.parametrize(
    ("task", "digest"),
    [("niah_multikey_3", "51e15ea64d92175c"), ("vt", "42ba47bc590112ec"), ("fwe", "a1254120bf27a971")],
)
def test_what_a_seed_gives_stays_as_it_is(task, digest, word_tokenizer):
    """Published figures name a seed. The other tasks have words of a library and text of this Python's version."""
    context = ruler.sample(task, 4096, tokenizer=word_tokenizer, seed=42).context
    assert hashlib.sha256(context.encode()).hexdigest()[:16] == digest
