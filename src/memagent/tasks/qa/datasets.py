"""The five datasets of questions: what a record of each looks like, and where each is to be had.

HotpotQA and 2WikiMultihopQA share a schema (the hub's variant of it is read too); MuSiQue, SQuAD v1.1 and the
oracle passages of NQ (lost-in-the-middle) have their own. It does not build documents.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from memagent.errors import InputError, SetupError
from memagent.tasks.qa.corpus import Corpus, Paragraph, Question, side
from memagent.tasks.qa.sources import HUB, Record, records

SPLITS = ("train", "dev", "all")


def load(
    dataset: str,
    source: str,
    *,
    paragraphs: str | None = None,
    split: str | None = None,
    limit: int | None = None,
) -> Corpus:
    """The questions of `source`, at most `limit`, with paragraphs to hide them among.

    `split` is `train` to learn from, `dev` (the default) to report, or `all`. Records that do not name their
    split are of the split that the file's name says, or else of the one that is asked for; those of an
    unknown split serve for `all` alone. A question that stands twice is taken once. Distractors come from
    `paragraphs`, a file of titles and texts, else from the other questions; only those of the split's own
    side serve (see `side`).

    Raises:
        SetupError: no source is given, or the hub fails; says how to get the data.
        DocumentError, InputError: a file is missing, a record lacks a field, or no question is of the split.
    """
    if dataset not in DATASETS:
        raise InputError(f"there is no dataset {dataset}: take {', '.join(DATASETS)}")
    if not source:
        raise SetupError(missing(dataset))
    wanted = split or "dev"
    if wanted not in SPLITS:
        raise InputError(f"there is no split {split}: take {', '.join(SPLITS)}")
    questions = tuple(islice(_of_split(dataset, source, wanted), limit))
    found = _of_file(paragraphs) if paragraphs else [[p for question in questions for p in question.paragraphs]]
    return Corpus(name=dataset, questions=questions, distractors=tuple(_sided(group, wanted) for group in found))


def missing(dataset: str) -> str:
    """What to tell a user who has not got a dataset."""
    url, hub = _PLACES[dataset]
    return f"{dataset} needs its data: fetch {url} and give --source FILE, or --source hub:{hub}"


def _of_split(dataset: str, source: str, split: str) -> Iterator[Question]:
    """The questions of a split, each once.

    Raises:
        InputError: there is none.
    """
    named = _named_split(source)
    splits: Counter[str] = Counter()
    seen: set[str] = set()
    for question in _questions(dataset, source, split):
        own = question.split or named or split
        splits[own] += 1
        if split in (own, "all") and question.id not in seen:
            seen.add(question.id)
            yield question if question.split else replace(question, split=named)
    if not seen:
        others = ", ".join(f"{count} of {own}" for own, count in splits.items())
        raise InputError(
            f"{source} holds no question of the split {split}, but {others}: --split all takes every one"
            if others
            else f"{source} holds no question"
        )


def _named_split(source: str) -> str:
    """The split in an official file's name, as in hotpot_train_v1.1.json; "" where there is none."""
    found = None if source.startswith(HUB) else _SPLIT_IN_NAME.search(Path(source).name)
    return "" if found is None else {"train": "train"}.get(found[0], "dev")


_SPLIT_IN_NAME = re.compile(r"(?<![a-z])(?:train|dev|validation|val)(?![a-z])")


def _questions(dataset: str, source: str, split: str) -> Iterator[Question]:
    for place, record in records(source, split):
        try:
            yield from DATASETS[dataset](record)
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            what = f"the field {error} is missing" if isinstance(error, KeyError) else f"{error}"
            raise InputError(f"{place} is no record of {dataset}: {what}") from error


def _sided(group: Iterable[Paragraph], split: str) -> tuple[Paragraph, ...]:
    """Each title once; those of the other side only where every question is taken."""
    wanted = {"train": "train", "dev": "report"}.get(split)
    once = {paragraph.title: paragraph for paragraph in group}
    return tuple(p for title, p in once.items() if wanted is None or side(title) == wanted)


def _of_file(path: str) -> list[list[Paragraph]]:
    """Paragraphs of HotpotQA's own kind first: their length is what published counts of documents rest on."""
    groups: list[list[Paragraph]] = [[], []]
    for place, record in records(path):
        title, text = record.get("title"), record.get("text")
        if not isinstance(title, str) or not isinstance(text, str):
            raise InputError(f"{place} is no paragraph: it needs a title and a text")
        own_kind = re.search("hotpot|2wiki", str(record.get("src", "hotpot"))) is not None
        groups[0 if own_kind else 1].append(Paragraph(title, text))
    return groups


def _hotpot(record: Record) -> Iterator[Question]:
    context: list[tuple[str, list[str]]] = _pairs(record["context"])
    facts: list[tuple[str, int]] = _pairs(record.get("supporting_facts") or [])
    joint = "" if any(text.startswith(" ") for _, texts in context for text in texts[1:]) else " "
    known = dict(context)
    supporting = (known[title][number].strip() for title, number in facts if 0 <= number < len(known.get(title, ())))
    yield _question(
        record,
        answers=(_text(record, "answer"),),
        paragraphs=[Paragraph(title, joint.join(texts)) for title, texts in context],
        facts=tuple(fact for fact in supporting if fact),
        kind=record.get("type"),
    )


def _pairs(found: Any) -> list[tuple[str, Any]]:
    """[[title, value], …]. Hubs have {"title": […], NAME: […]} instead, or either as a text of JSON."""
    if isinstance(found, str):
        found = json.loads(found)
    if isinstance(found, dict):
        (values,) = (values for name, values in found.items() if name != "title")
        return list(zip(found["title"], values, strict=True))
    return [(title, value) for title, value in found]


def _musique(record: Record) -> Iterator[Question]:
    if record.get("answerable", True):
        gold = [one for one in record["paragraphs"] if one["is_supporting"]]
        yield _question(
            record,
            answers=(_text(record, "answer"), *(record.get("answer_aliases") or ())),
            paragraphs=[Paragraph(one["title"], one["paragraph_text"]) for one in record["paragraphs"]],
            facts=tuple(one["paragraph_text"] for one in gold),
            kind=_id(record).split("__")[0],
        )


def _question(
    record: Record,
    *,
    answers: Sequence[Any],
    paragraphs: Sequence[Paragraph],
    facts: tuple[str, ...],
    kind: str | None = None,
) -> Question:
    """What all datasets share: a question with an answer and a paragraph at the least.

    Raises:
        ValueError: it is none.
    """
    texts = tuple(dict.fromkeys(answer for answer in answers if not isinstance(answer, str) or answer.strip()))
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"the answers must be texts, not {answers!r:.60}")
    if not paragraphs or not all(isinstance(one.title, str) and isinstance(one.text, str) for one in paragraphs):
        raise ValueError("the question comes without paragraphs of titles and texts")
    return Question(
        id=_id(record),
        question=_text(record, "question"),
        answers=texts,
        paragraphs=tuple(paragraphs),
        facts=facts,
        split=_split(record),
        kind=kind,
    )


def _squad(record: Record) -> Iterator[Question]:
    """An article with its paragraphs, or (on the hub) one question with its paragraph."""
    if "paragraphs" not in record:
        answers = record["answers"]
        asked = [{"id": record["id"], "question": record["question"], "answers": [
            {"text": text, "answer_start": start}
            for text, start in zip(answers["text"], answers["answer_start"], strict=True)
        ]}]  # fmt: skip
        record = {**record, "paragraphs": [{"context": record["context"], "qas": asked}]}
    for paragraph in record["paragraphs"]:
        for asked_one in paragraph["qas"]:
            if asked_one["answers"] and not asked_one.get("is_impossible"):
                yield _of_squad(record, paragraph["context"], asked_one)


def _of_squad(record: Record, context: str, asked: Record) -> Question:
    # Several paragraphs of an article share its title, which would make all but one of them vanish.
    title = f"{record.get('title') or 'Article'}: {context[:40].strip()}"
    return _question(
        {**asked, "split": record.get("split")},
        answers=[answer["text"] for answer in asked["answers"]],
        paragraphs=[Paragraph(title, context)],
        facts=(_sentence(context, int(asked["answers"][0]["answer_start"])),),
    )


def _sentence(text: str, at: int) -> str:
    """The sentence around a character."""
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s)|$", text)]
    start = max((end for end in ends if end <= at), default=0)
    return text[start : next((end for end in ends if end > at), len(text))].strip()


def _nq(record: Record) -> Iterator[Question]:
    gold = [one for one in record["ctxs"] if one.get("isgold", True)]
    if not gold:
        raise ValueError("no passage of ctxs is gold")
    if not isinstance(record["answers"], list):
        raise ValueError("the field 'answers' must be a list")
    text = gold[0]["text"]
    found = next((_sentence(text, text.index(one)) for one in record["answers"] if one in text), text)
    paragraphs = [Paragraph(gold[0]["title"], text)]
    yield _question(record, answers=record["answers"], paragraphs=paragraphs, facts=(found,))


def _text(record: Record, name: str) -> str:
    value = record[name]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"the field {name!r} must be a text")
    return value


def _id(record: Record) -> str:
    """The record's own, else one made of its question."""
    given = record.get("_id") or record.get("id")
    return str(given) if given else hashlib.sha256(_text(record, "question").encode()).hexdigest()[:24]


def _split(record: Record) -> str:
    """As the record says; "" where it does not, which is the split of the file."""
    given = record.get("split")
    if given is None:
        return ""
    return {"validation": "dev"}.get(str(given), str(given))


DATASETS: Mapping[str, Callable[[Record], Iterator[Question]]] = {
    "hotpotqa": _hotpot,
    "2wiki": _hotpot,
    "musique": _musique,
    "squad": _squad,
    "nq": _nq,
}
_PLACES = {
    "hotpotqa": (
        "http://curtis.ml.cmu.edu/datasets/hotpot/hotpot_dev_distractor_v1.json",
        "hotpotqa/hotpot_qa:distractor",
    ),
    "2wiki": ("dev.json of https://github.com/Alab-NII/2wikimultihop", "framolfese/2WikiMultihopQA"),
    "musique": ("musique_ans_v1.0_dev.jsonl of https://github.com/StonyBrookNLP/musique", "dgslibisey/MuSiQue"),
    "squad": ("https://rajpurkar.github.io/SQuAD-explorer/dataset/dev-v1.1.json", "rajpurkar/squad"),
    "nq": ("nq-open-oracle.jsonl.gz of https://github.com/nelson-liu/lost-in-the-middle", "OWNER/NAME of a copy of it"),
    "qmsum": ("data/ALL/jsonl/val.jsonl of https://github.com/Yale-LILY/QMSum", "OWNER/NAME of a copy of it"),
}
