import json
import re

import pytest
from tests.tasks.made_up import (
    RECORDS,
    dataset,
    documents,
    hotpot,
    musique,
    nq,
    one_line,
    paragraph,
    squad,
    write_lines,
)

from memagent.errors import InputError, SetupError
from memagent.tasks.qa import DATASETS, Paragraph, build, load, missing, side


@pytest.fixture
def of(tmp_path):
    """Load a dataset from records."""

    def call(name, *records, file="data.jsonl", **given):
        return load(name, str(write_lines(tmp_path / file, records)), **{"split": "all", **given})

    return call


def test_hotpotqa_as_published(of):
    (question,) = of("hotpotqa", hotpot(3)).questions
    assert question.question == "Which river flows through the town where Ada Brill 3 was born?"
    assert question.answers == ("river Wye 3",)
    assert question.facts == (
        question.paragraphs[0].text.partition(".")[0] + ".",
        "The river Wye 3 flows through Town 3.",
    )
    assert len(question.paragraphs) == 10 and question.kind == "bridge"
    # Sentences carry the space between them, or are joined by one.
    stripped = {
        **hotpot(3),
        "context": [[title, [text.strip() for text in texts]] for title, texts in hotpot(3)["context"]],
    }
    assert of("hotpotqa", stripped).questions == (question,)


def test_hotpotqa_as_hubs_have_it(of):
    plain = hotpot(3)
    titles, texts = zip(*plain["context"], strict=True)
    facts, numbers = zip(*plain["supporting_facts"], strict=True)
    for name in ("sentences", "content"):
        hub = {
            **{field: plain[field] for field in ("question", "answer", "type")},
            "id": plain["_id"],
            "context": {"title": list(titles), name: list(texts)},
            "supporting_facts": {"title": list(facts), "sent_id": list(numbers)},
        }
        assert of("hotpotqa", hub).questions == of("hotpotqa", plain).questions
    texts_of_json = {**plain, **{field: json.dumps(plain[field]) for field in ("context", "supporting_facts")}}
    assert of("2wiki", texts_of_json).questions == of("hotpotqa", plain).questions


def test_musique_with_its_aliases(of):
    (question,) = of("musique", musique(5), {**musique(6), "answerable": False}).questions
    assert question.answers == ("Port 5", "Port no. 5")
    assert question.facts == ("Mira 5 painted the Hall 5.", "The Hall 5 stands in Port 5.")
    assert (len(question.paragraphs), question.kind) == (20, "2hop")


def test_squad_articles_and_single_records(of):
    article = squad(4)
    article["paragraphs"][1]["qas"] += [
        {"id": "no", "question": "Why?", "answers": []},
        {"id": "not", "question": "Why?", "answers": [{"text": "a", "answer_start": 0}], "is_impossible": True},
    ]
    found = of("squad", article).questions
    assert [(one.id, one.question, one.answers) for one in found] == [
        ("sq4-0", "When was gate 4-0 built?", ("1208",)),
        ("sq4-1", "When was gate 4-1 built?", ("1209",)),
    ]
    assert [one.facts for one in found] == [("Gate 4-0 was built in 1208.",), ("Gate 4-1 was built in 1209.",)]
    assert len({one.paragraphs[0].title for one in found}) == 2
    first = article["paragraphs"][0]
    asked = first["qas"][0]
    texts, starts = zip(*((one["text"], one["answer_start"]) for one in asked["answers"]), strict=True)
    single = {"id": asked["id"], "title": article["title"], "context": first["context"], "question": asked["question"]}
    hub = {**single, "answers": {"text": list(texts), "answer_start": list(starts)}}
    assert of("squad", hub).questions == found[:1]


def test_nq_with_its_gold_passage(of):
    record = nq(7)
    record["ctxs"].insert(0, {"title": "Other", "text": "Something else.", "isgold": False})
    (question,) = of("nq", record).questions
    assert question.answers == ("Keeper 7", "the keeper 7")
    assert [one.title for one in question.paragraphs] == ["Pier 7"]
    assert question.facts == ("Keeper 7 keeps the lamp.",)
    assert re.fullmatch("[0-9a-f]{24}", question.id)


@pytest.mark.parametrize("name", DATASETS)
def test_facts_are_passages_of_the_paragraphs(tmp_path, name):
    for question in load(name, dataset(tmp_path, name), split="all").questions:
        assert question.facts
        assert all(any(fact in one.text for one in question.paragraphs) for fact in question.facts)


def ids(corpus):
    return [question.id for question in corpus.questions]


def test_records_that_name_their_split(of):
    records = [hotpot(number, split=split) for number, split in enumerate(["train", "dev", "unknown", "validation"])]
    assert ids(of("hotpotqa", *records, split="train")) == ["hq0"]
    assert ids(of("hotpotqa", *records, split="dev")) == ids(of("hotpotqa", *records, split=None)) == ["hq1", "hq3"]
    assert ids(of("hotpotqa", *records, split="all")) == ["hq0", "hq1", "hq2", "hq3"]
    with pytest.raises(InputError) as caught:
        of("hotpotqa", *records[1:3], split="train")
    assert one_line(caught).endswith(
        "holds no question of the split train, but 1 of dev, 1 of unknown: --split all takes every one"
    )


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("hotpot_train_v1.1.json", "train"),
        ("train-v1.1.json", "train"),
        ("hotpot_dev_distractor_v1.json", "dev"),
        ("musique_ans_v1.0_dev.jsonl", "dev"),
        ("validation.jsonl", "dev"),
        ("val.jsonl.gz", "dev"),
    ],
)
def test_the_file_s_name_tells_the_split_of_records_that_do_not(of, file, split):
    (other,) = {"train", "dev"} - {split}
    (question,) = of("hotpotqa", hotpot(0), file=file, split=split).questions
    assert question.split == split
    with pytest.raises(InputError, match=f"no question of the split {other}, but 1 of {split}"):
        of("hotpotqa", hotpot(0), file=file, split=other)


def test_where_nothing_tells_the_split_it_is_the_one_asked_for(of):
    for split in ("train", "dev", "all"):
        (question,) = of("hotpotqa", hotpot(0), file="strained.jsonl", split=split).questions
        assert question.split == ""
        assert build(of("hotpotqa", hotpot(0), split=split), 0, documents=10).notes["split"] == "as the file"


def test_what_is_learnt_from_and_what_is_reported_share_nothing(tmp_path):
    records = [hotpot(number, split="train" if number % 2 else "dev") for number in range(20)]
    source = str(write_lines(tmp_path / "both.jsonl", records))
    paragraphs = str(write_lines(tmp_path / "paragraphs.jsonl", [paragraph(number) for number in range(200)]))
    for given in ({}, {"paragraphs": paragraphs}):
        sides = [load("hotpotqa", source, split=split, **given) for split in ("train", "dev")]
        train, report = sides
        assert not {*ids(train)} & {*ids(report)}
        titles = [{one.title for group in corpus.distractors for one in group} for corpus in sides]
        assert titles[0] and titles[1] and not titles[0] & titles[1]
        shown = [set(), set()]
        for corpus, seen in zip(sides, shown, strict=True):
            for index in range(10):
                own = {f"{one.title}\n{one.text}" for one in corpus.questions[index].paragraphs}
                problem = build(corpus, index, documents=40)
                assert problem.notes["split"] in ("train", "dev")
                seen |= set(documents(problem.context).values())
            for question in corpus.questions:
                seen -= {f"{one.title}\n{one.text}" for one in question.paragraphs}
            assert own
        assert not shown[0] & shown[1]
        assert bool(shown[0] and shown[1]) == bool(given)


def test_sides_are_halves_and_do_not_change():
    found = [side(f"Title {number}") for number in range(2000)]
    assert 900 < found.count("train") < 1100
    assert [side(title) for title in ("Paris", "Berlin", "東京", "\ud800")] == ["train", "report", "train", "train"]


def test_a_title_or_a_question_that_stands_twice_is_taken_once(of, tmp_path):
    twice = [paragraph(1), {**paragraph(1), "text": "Another text."}, paragraph(2)]
    file = str(write_lines(tmp_path / "twice.jsonl", twice))
    corpus = of("hotpotqa", hotpot(0), hotpot(1), hotpot(0), paragraphs=file)
    assert ids(corpus) == ["hq0", "hq1"]
    assert [one.title for one in corpus.distractors[0]] == ["hotpot page 1", "hotpot page 2"]


def test_distractors_come_from_the_other_questions_without_a_file(of):
    corpus = of("hotpotqa", hotpot(0), hotpot(1))
    assert set(corpus.distractors[0]) == {one for question in corpus.questions for one in question.paragraphs}
    with_limit = of("hotpotqa", *map(hotpot, range(9)), limit=2)
    assert ids(with_limit) == ["hq0", "hq1"]


@pytest.mark.parametrize("name", DATASETS)
def test_without_a_source_the_user_is_told_where_to_get_it(name):
    with pytest.raises(SetupError) as caught:
        load(name, "")
    message = one_line(caught)
    assert message == missing(name)
    assert message.startswith(f"{name} needs its data: fetch ") and "--source FILE" in message and "hub:" in message


@pytest.mark.parametrize(
    ("name", "other"),
    [(name, other) for name in DATASETS for other in RECORDS if DATASETS[name] is not DATASETS[other]],
)
def test_the_file_of_another_dataset_is_one_line(of, name, other):
    with pytest.raises(InputError, match=rf"data\.jsonl:1 is no record of {name}: ") as caught:
        of(name, RECORDS[other](0))
    one_line(caught)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("hotpotqa", {"question": None}, "the field 'question' must be a text"),
        ("hotpotqa", {"question": " "}, "the field 'question' must be a text"),
        ("hotpotqa", {"answer": 7}, "the field 'answer' must be a text"),
        ("hotpotqa", {"context": []}, "comes without paragraphs"),
        ("hotpotqa", {"context": [["a"]]}, "values to unpack"),
        ("hotpotqa", {"context": [["a", [1, 2]]]}, "no attribute"),
        ("hotpotqa", {"context": [[1, ["text"]]]}, "without paragraphs of titles and texts"),
        ("hotpotqa", {"context": "{"}, "Expecting"),
        ("hotpotqa", {"context": {"title": ["a"], "sentences": []}}, "zip"),
        ("musique", {"answer_aliases": [1]}, "the answers must be texts"),
        ("musique", {"paragraphs": []}, "comes without paragraphs"),
        ("nq", {"answers": "Keeper"}, "the field 'answers' must be a list"),
        ("nq", {"answers": []}, "the answers must be texts"),
        ("nq", {"ctxs": []}, "no passage of ctxs is gold"),
        ("squad", {"paragraphs": [{"context": "c", "qas": [{"answers": [{}], "question": "q"}]}]}, "'text' is missing"),
    ],
)
def test_faulty_records_are_named(of, name, change, message):
    with pytest.raises(InputError) as caught:
        of(name, RECORDS[name](0), {**RECORDS[name](1), **change})
    assert f"data.jsonl:2 is no record of {name}: " in one_line(caught)
    assert message in one_line(caught)


@pytest.mark.parametrize(
    "record", [{"title": "a"}, {"text": "a"}, {"title": "a", "text": 1}, {"title": None, "text": "a"}]
)
def test_faulty_paragraphs_are_named(of, tmp_path, record):
    file = str(write_lines(tmp_path / "p.jsonl", [paragraph(0), {**record, "src": 5}]))
    with pytest.raises(InputError, match=r"p\.jsonl:2 is no paragraph: it needs a title and a text"):
        of("hotpotqa", hotpot(0), paragraphs=file)


def test_names_that_do_not_exist(of):
    with pytest.raises(InputError, match="there is no dataset hotpot: take hotpotqa, 2wiki, musique, squad, nq"):
        of("hotpot", hotpot(0))
    with pytest.raises(InputError, match="there is no split test: take train, dev, all"):
        of("hotpotqa", hotpot(0), split="test")
    with pytest.raises(InputError, match=r"data\.jsonl holds no question$"):
        of("musique", {**musique(0), "answerable": False})


def test_paragraphs_keep_titles_and_texts(of, tmp_path):
    file = str(write_lines(tmp_path / "p.jsonl", [{"title": "A", "text": "One."}]))
    assert of("hotpotqa", hotpot(0), paragraphs=file).distractors == ((Paragraph("A", "One."),), ())
