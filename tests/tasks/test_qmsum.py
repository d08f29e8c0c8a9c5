import json
import re

import pytest
from tests.tasks.made_up import check_length, one_line, qmsum, write_lines

from memagent.errors import InputError, OptionError, SetupError
from memagent.scoring import scores
from memagent.tasks.qmsum import fitting, sample


@pytest.fixture
def source(tmp_path):
    """Meetings of 10 to 80 turns with two queries each."""
    return str(write_lines(tmp_path / "qmsum.jsonl", [qmsum(number, turns=10 + 10 * number) for number in range(8)]))


def transcripts():
    found = []
    for number in range(8):
        turns = qmsum(number, turns=10 + 10 * number)["meeting_transcripts"]
        found.append("\n".join(f"{one['speaker']}: {' '.join(one['content'].split())}" for one in turns))
    return found


def meetings(context):
    """The meetings of a context by their numbers."""
    parts = re.split(r"(?:^|\n\n)Meeting (\d+):\n", context)
    assert parts[0] == ""
    return {int(number): text for number, text in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.mark.parametrize("tokens", [3000, 6000, 20_000])
def test_meetings_fill_the_length(source, tokens, tokenizer):
    for index in range(3):
        problem = sample(tokens=tokens, tokenizer=tokenizer, source=source, seed=1, index=index)
        check_length(problem, tokens, tokenizer)
        shown = meetings(problem.context)
        assert list(shown) == list(range(1, len(shown) + 1)) and problem.notes["meetings"] == len(shown)
        own = int(re.match(r"Summarize from meeting (\d+): ", problem.question)[1])
        assert own == problem.notes["own"] and f"about meeting {own}: " in problem.tail
        assert shown[own] in transcripts()
        cut = {number: text for number, text in shown.items() if text not in transcripts()}
        if "shortened" not in problem.notes:
            assert not cut
            continue
        ((number, text),) = cut.items()
        (whole,) = (one for one in transcripts() if one.startswith(text))
        assert whole[len(text)].isspace()
        words = len(text.split()), len(whole.split())
        assert problem.notes["shortened"] == f"meeting number {number} ends after {words[0]} of its {words[1]} words"


def test_query_answer_and_facts_belong_to_the_meeting(source, words):
    for index in range(16):
        problem = sample(tokens=4000, tokenizer=words, source=source, index=index)
        own = meetings(problem.context)[problem.notes["own"]]
        door = re.search(r"door number (\d+) green", own)[1]
        assert door in problem.answers[0] and problem.metric == "rouge_l"
        if "What was decided" in problem.question:
            assert len(problem.facts) == 3 and all(fact in own for fact in problem.facts)
        else:
            assert problem.facts == ()
        assert scores(problem.answers[0], problem.answers, problem.metric)["rouge_l"] == 1.0


def test_meetings_stand_before_and_behind_the_asked_one(source, words):
    places = {(problem.notes["own"], problem.notes["meetings"]) for problem in (
        sample(tokens=4000, tokenizer=words, source=source, index=index) for index in range(16))}  # fmt: skip
    assert any(own == 1 for own, _ in places) and any(own == count for own, count in places)


def test_the_same_query_at_every_length_and_by_seed(source, words):
    for index in range(3):
        made = [sample(tokens=tokens, tokenizer=words, source=source, index=index) for tokens in (3000, 3000, 9000)]
        assert made[0] == made[1] and made[0].answers == made[2].answers
    by_seed = [[sample(tokens=4000, tokenizer=words, source=source, seed=seed, index=index).answers
                for index in range(16)] for seed in (0, 1)]  # fmt: skip
    assert by_seed[0] != by_seed[1] and sorted(by_seed[0]) == sorted(by_seed[1])


def test_meetings_that_run_out_are_repeated_and_the_record_says_so(source, words):
    problem = sample(tokens=60_000, tokenizer=words, source=source)
    assert problem.notes["extended"] == "meetings are repeated, in another order each time"
    shown = list(meetings(problem.context).values())
    assert shown.count(meetings(problem.context)[problem.notes["own"]]) == 1
    assert "extended" not in sample(tokens=4000, tokenizer=words, source=source).notes


def test_queries_of_meetings_that_are_too_long_are_left_out(source, words):
    sizes = []
    for index in range(16):
        with pytest.raises(OptionError) as caught:
            sample(tokens=50, tokenizer=words, source=source, index=index)
        sizes.append(int(re.search(r"need (\d+) tokens: 50 are too few", one_line(caught))[1]))
    limit = sorted(sizes)[7]
    chosen = fitting(6, tokens=limit, tokenizer=words, source=source)
    assert list(chosen.indices) == [index for index in range(16) if sizes[index] <= limit][:6]
    assert next(chosen.notes()).endswith(f"left out, as they need more than {limit} tokens")
    for index in chosen.indices:
        check_length(sample(tokens=limit, tokenizer=words, source=source, index=index), limit, words)
    assert len(fitting(99, tokens=10**6, tokenizer=words, source=source).indices) == 16
    with pytest.raises(
        OptionError, match=f"qmsum has no problem of 50 tokens or fewer: the smallest needs {min(sizes)}"
    ):
        fitting(6, tokens=50, tokenizer=words, source=source)


@pytest.mark.parametrize("call", [sample, lambda **given: fitting(3, **given)])
def test_without_the_data_there_is_one_line(call, words):
    with pytest.raises(SetupError) as caught:
        call(tokens=8192, tokenizer=words, source=None)
    assert "qmsum needs its data: fetch data/ALL/jsonl/val.jsonl" in one_line(caught)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"meeting_transcripts": None}, "no record of qmsum"),
        ({"meeting_transcripts": [{"speaker": "A"}]}, "the field 'content' is missing"),
        ({"general_query_list": [{"query": "q", "answer": ""}]}, "the field 'answer' must be a text"),
        (
            {"specific_query_list": [{"query": "q", "answer": "a", "relevant_text_span": [["x", "2"]]}]},
            "invalid literal",
        ),
        ({"general_query_list": 5}, "not iterable"),
    ],
)
def test_faulty_meetings_are_named(tmp_path, words, change, message):
    file = write_lines(tmp_path / "bad.jsonl", [qmsum(0), {**qmsum(1), **change}])
    with pytest.raises(InputError, match=r"bad\.jsonl:2 is no record of qmsum: ") as caught:
        sample(tokens=4096, tokenizer=words, source=str(file))
    assert message in one_line(caught)


def test_sources_that_cannot_do(tmp_path, words):
    alone = str(write_lines(tmp_path / "one.jsonl", [qmsum(0)]))
    with pytest.raises(InputError, match="holds one meeting"):
        sample(tokens=4096, tokenizer=words, source=alone)
    without = {**qmsum(0), "general_query_list": [], "specific_query_list": None}
    mute = str(write_lines(tmp_path / "mute.jsonl", [json.loads(json.dumps(without))]))
    with pytest.raises(InputError, match="holds no query of a meeting"):
        sample(tokens=4096, tokenizer=words, source=mute)
    with pytest.raises(OptionError, match="has 2 queries: there is no number 2"):
        sample(tokens=4096, tokenizer=words, source=alone, index=2)
