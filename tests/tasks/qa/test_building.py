import random
import re

import pytest
from tests.tasks.made_up import RECORDS, check_length, dataset, documents, one_line, paragraph, write_lines

from memagent.errors import InputError, OptionError
from memagent.tasks.qa import Corpus, Paragraph, Question, build, fitting, load


@pytest.fixture
def hotpot(tmp_path):
    return load("hotpotqa", dataset(tmp_path, "hotpotqa"), split="all")


def corpus(*, own=(3, 3), distractors=30, length=200, questions=1):
    """Questions with own paragraphs of so many words, among distractors of `length` words."""
    rng = random.Random(f"{own}/{distractors}/{length}")

    def body(words):
        return " ".join(rng.choice(("oak", "elm", "ash", "fir", "yew")) for _ in range(words))

    asked = tuple(
        Question(
            id=f"q{number}",
            question=f"What is said of {number}?",
            answers=("it",),
            paragraphs=tuple(Paragraph(f"own {number}-{at}", body(words)) for at, words in enumerate(own)),
            split="dev",
        )
        for number in range(questions)
    )
    group = tuple(Paragraph(f"other {number}", body(length)) for number in range(distractors))
    return Corpus(name="made", questions=asked, distractors=(group,))


def bodies(paragraphs):
    return {f"{one.title}\n{one.text}" for one in paragraphs}


@pytest.mark.parametrize("name", ["hotpotqa", "musique", "squad", "nq"])
@pytest.mark.parametrize("tokens", [3000, 8192])
def test_a_length_in_tokens_is_met_within_a_hundredth(tmp_path, name, tokens, tokenizer):
    found = load(name, dataset(tmp_path, name), split="all")
    for index in range(4):
        problem = build(found, index, tokens=tokens, tokenizer=tokenizer, seed=3)
        check_length(problem, tokens, tokenizer)
        assert problem.notes["num_docs"] == len(documents(problem.context))
        assert problem.notes["target"] == tokens


@pytest.mark.parametrize("count", [10, 50, 90])
def test_a_number_of_documents(hotpot, count):
    for index in range(4):
        problem = build(hotpot, index, documents=count)
        found = documents(problem.context)
        assert list(found) == list(range(1, count + 1))
        own = bodies(next(one for one in hotpot.questions if one.question == problem.question).paragraphs)
        assert own <= set(found.values())
        assert problem.length is None and problem.notes["num_docs"] == count


def test_gold_documents_are_those_with_the_facts(tmp_path):
    for name in RECORDS:
        found = load(name, dataset(tmp_path, name), split="all")
        problem = build(found, 1, documents=40)
        holding = [
            number for number, body in documents(problem.context).items() if any(f in body for f in problem.facts)
        ]
        assert problem.notes["gold"] == holding != []
        assert any(answer in body for answer in problem.answers for body in problem.facts)


def test_the_prompt_is_ruler_s(hotpot):
    problem = build(hotpot, 0, documents=10)
    asked = (
        "Answer the question based on the given documents. Only give me the answer and do not output any other words."
    )
    assert problem.prompt("CONTEXT") == (
        f"{asked}\n\nThe following are given documents.\n\nCONTEXT\n\n{asked}\n\nQuestion: {problem.question} Answer:"
    )
    assert (problem.task, problem.metric, problem.max_tokens) == ("ruler-hqa", "sub_em", 32)


def test_questions_are_the_same_at_every_length_and_distractors_are_kept(hotpot, embedded):
    for index in range(4):
        small, middle, large = (build(hotpot, index, documents=count) for count in (20, 40, 80))
        assert small.question == middle.question == large.question
        found = [set(documents(problem.context).values()) for problem in (small, middle, large)]
        assert found[0] < found[1] < found[2]
        in_tokens = [build(hotpot, index, tokens=tokens, tokenizer=embedded) for tokens in (2048, 4096)]
        assert {problem.question for problem in in_tokens} == {small.question}
        kept = set(documents(in_tokens[0].context).values()) - set(documents(in_tokens[1].context).values())
        assert len(kept) <= 2  # those that filled the last gap


def test_seeds_reproduce(hotpot):
    assert build(hotpot, 2, documents=30, seed=5) == build(hotpot, 2, documents=30, seed=5)
    by_seed = [[build(hotpot, index, documents=30, seed=seed).question for index in range(12)] for seed in (5, 6)]
    assert by_seed[0] != by_seed[1] and set(by_seed[0]) == set(by_seed[1])
    asked = by_seed[0][0]
    contexts = [
        build(hotpot, of_seed.index(asked), documents=30, seed=seed).context
        for seed, of_seed in zip((5, 6), by_seed, strict=True)
    ]
    assert contexts[0] != contexts[1]


def test_own_documents_stand_anywhere(hotpot):
    places = [number for index in range(12) for number in build(hotpot, index, documents=60).notes["gold"]]
    assert min(places) < 15 and max(places) > 45


def test_distractors_that_run_out_are_repeated_and_the_record_says_so():
    found = corpus(distractors=5)
    assert "extended" not in build(found, 0, documents=7).notes
    problem = build(found, 0, documents=2 + 13)
    assert problem.notes["extended"] == "distractors are repeated, in another order each time"
    counts = [list(documents(problem.context).values()).count(body) for body in bodies(found.distractors[0])]
    assert sorted(counts) == [2, 2, 3, 3, 3]


def test_none_is_repeated_while_there_are_others(words):
    long = tuple(Paragraph(f"other {number}", " ".join(["oak"] * (7 * number % 90 + 20))) for number in range(12))
    found = Corpus(name="made", questions=corpus(own=(20, 20)).questions, distractors=(long,))
    extended = 0
    for tokens in range(500, 1500, 17):
        problem = build(found, 0, tokens=tokens, tokenizer=words)
        titles = [body.partition("\n")[0] for body in documents(problem.context).values()]
        assert ("extended" in problem.notes) == (len(titles) > 14)
        assert len(set(titles)) == min(len(titles), 14), tokens
        extended += "extended" in problem.notes
    assert 0 < extended < 59


def test_no_paragraph_of_the_question_s_own_titles_is_a_distractor():
    found = corpus(distractors=8)
    twin = Paragraph("own 0-1", "another text under the same title")
    found = Corpus(name="made", questions=found.questions, distractors=((*found.distractors[0], twin),))
    context = build(found, 0, documents=10).context
    assert twin.text not in context and "extended" not in build(found, 0, documents=10).notes


@pytest.mark.parametrize("length", [40, 300, 5000])
def test_a_distractor_is_shortened_where_whole_ones_leave_a_gap(length, tokenizer):
    found = corpus(length=length)
    for tokens in (1000, 1003, 1500, 4096):
        problem = build(found, 0, tokens=tokens, tokenizer=tokenizer)
        check_length(problem, tokens, tokenizer)
        shown = documents(problem.context)
        assert bodies(found.questions[0].paragraphs) <= set(shown.values())
        cut = {number: body for number, body in shown.items() if body not in bodies(found.distractors[0])}
        cut = {number: body for number, body in cut.items() if "own" not in body}
        if "shortened" not in problem.notes:
            assert not cut
            continue
        ((number, body),) = cut.items()
        (whole,) = (one for one in bodies(found.distractors[0]) if one.startswith(body))
        assert whole[len(body)] == " "
        left, before = (len(text.partition("\n")[2].split()) for text in (body, whole))
        assert problem.notes["shortened"] == f"document {number} ends after {left} of its {before} words"


def test_gaps_that_whole_documents_leave_do_occur(words):
    found = corpus(length=300)
    assert "shortened" in build(found, 0, tokens=1000, tokenizer=words).notes


def test_scripts_without_spaces_are_shortened_too(embedded):
    found = corpus()
    long = tuple(Paragraph(f"其他 {number}", "那座桥横跨在河上" * 200) for number in range(5))
    problem = build(
        Corpus(name="made", questions=found.questions, distractors=(long,)), 0, tokens=1500, tokenizer=embedded
    )
    check_length(problem, 1500, embedded)


def test_own_documents_that_do_not_fit_are_named_with_what_they_need(hotpot, words):
    with pytest.raises(OptionError) as caught:
        build(hotpot, 0, tokens=300, tokenizer=words)
    needed = int(re.search(r"need (\d+) tokens: 300 are too few", one_line(caught))[1])
    least = build(hotpot, 0, tokens=needed, tokenizer=words)
    assert least.length == needed and least.notes["num_docs"] == 10
    with pytest.raises(OptionError):
        build(hotpot, 0, tokens=needed - 1, tokenizer=words)
    with pytest.raises(OptionError, match="comes with 10 documents: 9 are too few"):
        build(hotpot, 0, documents=9)


def test_a_run_takes_the_questions_that_fit_its_shortest_length(tmp_path, words):
    records = [RECORDS["hotpotqa"](number, sentences=(1, 1 + 3 * number)) for number in range(12)]
    found = load("hotpotqa", str(write_lines(tmp_path / "growing.jsonl", records)), split="all")
    needs = []
    for index in range(12):
        with pytest.raises(OptionError) as caught:
            build(found, index, tokens=100, tokenizer=words)
        needs.append(int(re.search(r"need (\d+)", str(caught.value))[1]))
    limit = sorted(needs)[6]
    chosen = fitting(found, 5, tokens=limit, tokenizer=words)
    expected = [index for index in range(12) if needs[index] <= limit][:5]
    assert list(chosen.indices) == expected
    assert chosen.left_out == expected[-1] + 1 - 5 > 0
    assert list(chosen.notes()) == [
        f"hotpotqa: {chosen.left_out} of the first {expected[-1] + 1} left out, as they need more than {limit} tokens"
    ]
    every = fitting(found, 99, tokens=limit, tokenizer=words)
    assert (len(every.indices), every.left_out) == (7, 5)
    assert list(every.notes())[1] == "hotpotqa: there are 7 of 99 asked for"
    with pytest.raises(OptionError) as caught:
        fitting(found, 5, tokens=min(needs) - 1, tokenizer=words)
    assert one_line(caught) == (
        f"hotpotqa has no problem of {min(needs) - 1} tokens or fewer: the smallest needs {min(needs)}"
    )


def test_questions_with_more_documents_than_asked_for_are_left_out(tmp_path):
    records = [RECORDS["hotpotqa"](number, paragraphs=2 + number) for number in range(8)]
    found = load("hotpotqa", str(write_lines(tmp_path / "growing.jsonl", records)), split="all")
    chosen = fitting(found, 99, documents=5)
    assert len(chosen.indices) == 4 and chosen.left_out == 4
    assert all(build(found, index, documents=5).notes["num_docs"] == 5 for index in chosen.indices)


@pytest.mark.parametrize("length", [{"documents": 20}, {"tokens": 4096}])
def test_without_distractors_there_is_one_line(words, length):
    alone = Corpus(name="made", questions=corpus().questions, distractors=((),))
    with pytest.raises(InputError) as caught:
        build(alone, 0, **length, tokenizer=words)
    assert one_line(caught) == "made has no paragraphs for distractors: name a file with --paragraphs"


def test_options_that_make_no_sense(hotpot, words):
    for given in ({}, {"documents": 10, "tokens": 4096, "tokenizer": words}):
        for make in (build, fitting):
            with pytest.raises(OptionError, match="a number of documents or of tokens, not both"):
                make(hotpot, 0, **given)
    with pytest.raises(OptionError, match="needs a tokenizer"):
        build(hotpot, 0, tokens=4096)
    for index in (12, -1):
        with pytest.raises(OptionError, match=f"hotpotqa has 12 questions: there is no number {index}"):
            build(hotpot, index, documents=10)


def test_titles_can_be_left_out_and_documents_counted(tmp_path, words):
    found = load("squad", dataset(tmp_path, "squad"), split="all")
    problem = build(found, 0, documents=5, titled=False, tokenizer=words)
    assert "Castle" not in problem.context
    whole = problem.head + problem.context + problem.tail + problem.answer_prefix
    assert problem.length == words.count(whole) + 32


def test_hotpot_s_own_kind_of_paragraph_comes_first(tmp_path):
    source = dataset(tmp_path, "hotpotqa")
    kinds = [paragraph(number, src) for number in range(40) for src in ("beir", "hotpot-train")]
    found = load("hotpotqa", source, paragraphs=str(write_lines(tmp_path / "p.jsonl.gz", kinds)), split="all")
    shown = build(found, 0, documents=10 + 40).context
    assert shown.count("hotpot-train page") == 40 and "beir page" not in shown
    assert build(found, 0, documents=10 + 41).context.count("beir page") == 1
