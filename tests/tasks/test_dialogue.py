import re

import pytest
from tests.tasks.made_up import check_length, one_line

from memagent.errors import DocumentError, OptionError
from memagent.scoring import scores
from memagent.tasks.dialogue import fitting, sample
from memagent.tasks.haystacks import haystack

TOLD = {
    "What is the user's cat called?": r"My cat is called (\w+)\.",
    "What does the user work as?": r"I work as a (\w+)\.",
    "Where does the user live?": r"I live in (\w+)\.",
    "What is the user's favourite dish?": r"My favourite dish is (\w+)\.",
    "What is the user's sister called?": r"My sister is called (\w+)\.",
    "Which colour is the user's car?": r"I drive a (\w+) car\.",
    "Which instrument does the user play?": r"I play the (\w+)\.",
    "On which day does the user's flight leave?": r"My flight leaves on (\w+)\.",
}


@pytest.mark.parametrize("tokens", [1024, 2048, 4096, 10_000])
def test_the_newest_value_is_the_answer_and_the_length_is_met(tokens, tokenizer):
    for index in range(4):
        problem = sample(tokens=tokens, tokenizer=tokenizer, index=index, seed=2)
        check_length(problem, tokens, tokenizer)
        told = re.findall(rf"User: (?:By the way, that has changed: )?{TOLD[problem.question]}", problem.context)
        assert told == problem.notes["values"] and problem.answers == (told[-1],)
        assert len(set(told)) == len(told)
        assert problem.context.count(problem.facts[0]) == 1


def test_older_values_and_nothing_are_wrong(words):
    several = [sample(tokens=2048, tokenizer=words, index=index) for index in range(20)]
    several = [problem for problem in several if len(problem.notes["values"]) > 1]
    assert len(several) > 5
    for problem in several:
        *older, newest = problem.notes["values"]
        assert scores(newest, problem.answers, problem.metric)["contains"] == 1.0
        assert all(scores(value, problem.answers, problem.metric)["contains"] == 0.0 for value in [*older, "nothing"])


def test_every_exchange_is_whole(words):
    problem = sample(tokens=3000, tokenizer=words)
    sessions = re.split(r"(?:^|\n\n)Session (\d+)\n", problem.context)
    assert sessions[1::2] == [str(number) for number in range(1, len(sessions) // 2 + 1)]
    lines = [line for session in sessions[2::2] for line in session.split("\n")]
    assert all(line.startswith(("User: ", "Assistant: ")[at % 2]) for at, line in enumerate(lines))
    talk = [line for line in lines if "I read this today" in line]
    assert len(talk) == problem.notes["turns"]
    sentences = set(haystack("report").sentences)
    cut = [line for line in talk if re.search('today: "(.*)" What do you make of it', line)[1] not in sentences]
    assert len(cut) == ("shortened" in problem.notes)


def test_what_fills_the_last_gap_is_noted(words):
    for index in range(40):
        notes = sample(tokens=1100, tokenizer=words, index=index).notes
        if "shortened" in notes:
            break
    assert re.fullmatch(r"the last sentence talked about ends after \d+ of its \d+ words", notes["shortened"])


def test_the_same_question_at_every_length_and_by_seed(words):
    for index in range(5):
        small, again, large = (sample(tokens=t, tokenizer=words, index=index) for t in (2048, 2048, 20_000))
        assert small == again
        assert (small.question, small.notes["values"]) == (large.question, large.notes["values"])
    facts = [
        [sample(tokens=2048, tokenizer=words, index=index, seed=seed).facts for index in range(5)] for seed in (0, 1)
    ]
    assert facts[0] != facts[1]


def test_a_text_of_one_s_own_that_runs_out_is_repeated_and_the_record_says_so(tmp_path, words):
    book = tmp_path / "book.txt"
    book.write_text(" ".join(f"On day {day} it rained." for day in range(30)), encoding="utf-8")
    short, long = (sample(tokens=tokens, tokenizer=words, source=str(book)) for tokens in (1100, 5000))
    assert long.context.count("On day 7 it rained.") > 1
    assert long.notes["extended"] == "the text of the small talk is repeated from its start"
    assert "extended" not in short.notes and short.notes["haystack"] == "book.txt"
    assert short.notes["haystack_sha256"] == haystack(str(book)).fingerprint


def test_sides_talk_about_different_texts(words):
    train, report = (sample(tokens=4096, tokenizer=words, source=source) for source in ("train", "report"))
    said = [set(re.findall('I read this today: "([^"]{40,})"', problem.context)) for problem in (train, report)]
    assert said[0] and said[1] and not said[0] & said[1]


def test_too_few_tokens_are_one_line(words):
    with pytest.raises(OptionError) as caught:
        sample(tokens=100, tokenizer=words)
    needed = int(re.search(r"this dialogue needs (\d+) tokens: 100 are too few", one_line(caught))[1])
    assert sample(tokens=needed, tokenizer=words).length == needed
    with pytest.raises(OptionError, match="dialogue has no problem of 100 tokens or fewer"):
        fitting(4, tokens=100, tokenizer=words)


def test_dialogues_that_do_not_fit_are_left_out(words):
    sizes = []
    for index in range(16):
        with pytest.raises(OptionError) as caught:
            sample(tokens=10, tokenizer=words, index=index)
        sizes.append(int(re.search(r"needs (\d+)", str(caught.value))[1]))
    limit = sorted(sizes)[9]
    chosen = fitting(8, tokens=limit, tokenizer=words)
    assert list(chosen.indices) == [index for index in range(16) if sizes[index] <= limit][:8]
    assert fitting(8, tokens=4096, tokenizer=words).indices == tuple(range(8))


def test_a_missing_text_is_one_line(tmp_path, words):
    with pytest.raises(DocumentError, match=r"gone\.txt"):
        sample(tokens=4096, tokenizer=words, source=str(tmp_path / "gone.txt"))
