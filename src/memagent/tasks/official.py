"""Problems as records of the official formats, and back: NVIDIA/RULER's, MemAgent's RULER variant, its
evaluation JSON and its training parquet.

What the official fields cannot hold stands in fields of our own beside them, which other readers pass over. It
does not know files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from memagent.errors import InputError
from memagent.scoring import METRICS
from memagent.tasks.frames import Frame, frame_of, part
from memagent.tasks.problem import Problem
from memagent.tasks.qa.building import HEAD, MAX_TOKENS, PREFIX, TAIL, task_of
from memagent.tasks.qa.datasets import DATASETS
from memagent.tasks.qa.sources import Record

Kind = TypeVar("Kind")


def kind_of(record: Mapping[str, Any]) -> str | None:
    """Which official format a record is of; None where it is of none."""
    if {"prompt", "context", "reward_model"} <= record.keys():
        return "train-parquet"
    if {"input", "context", "answers"} <= record.keys():
        return "eval-json"
    if {"input", "outputs"} <= record.keys():
        return "memagent" if "context" in record else "nvidia"
    return None


def to_nvidia(number: int, problem: Problem) -> Record:
    """The record of a problem, which is the file's number `number` from 0."""
    text = _text(problem)
    return {
        "index": number,
        "input": f"{problem.head}{text}{problem.tail}",
        "outputs": list(problem.answers),
        "length": problem.length,
        "answer_prefix": problem.answer_prefix,
        "question": problem.question,
        "context_span": [len(problem.head), len(problem.head) + len(text)],
        **_own(problem),
    }


def to_memagent(number: int, problem: Problem) -> Record:
    """The record of a problem, which is the file's number `number` from 0."""
    return {
        "index": number,
        "input": problem.question,
        "context": _text(problem),
        "outputs": list(problem.answers),
        "answer_prefix": problem.answer_prefix,
        "length": problem.length,
        "head": problem.head,
        "tail": problem.tail,
        **_own(problem),
    }


def to_eval(number: int, problem: Problem) -> Record:
    """The record of a problem, which is the file's number `number` from 0."""
    return {
        "context": _text(problem),
        "input": problem.question,
        "answers": list(problem.answers),
        "num_docs": problem.notes.get("num_docs"),
        "index": number,
        "head": problem.head,
        "tail": problem.tail,
        "answer_prefix": problem.answer_prefix,
        "length": problem.length,
        **_own(problem),
    }


def to_train(number: int, problem: Problem) -> Record:
    """The record of a problem, which is the file's number `number` from 0."""
    return {
        "data_source": str(problem.notes.get("dataset", problem.task)),
        "prompt": [{"role": "user", "content": problem.question}],
        "context": _text(problem),
        "ability": "memory",
        "reward_model": {"style": "rule", "ground_truth": list(problem.answers)},
        "extra_info": {
            "index": number,
            "question": problem.question,
            "num_docs": problem.notes.get("num_docs"),
            "length": problem.length,
            **_own(problem),
        },
    }


def _own(problem: Problem) -> Record:
    """Our own fields. The notes are a text of JSON: loaders of tables take no values of changing types."""
    return {
        "id": problem.id,
        "task": problem.task,
        "metric": problem.metric,
        "max_tokens": problem.max_tokens,
        "tokenizer": problem.tokenizer,
        "facts": list(problem.facts),
        "notes": json.dumps(dict(problem.notes)),
    }


def _text(problem: Problem) -> str:
    return problem.context or "".join(piece.text for piece in problem.document().pieces())


def from_record(kind: str, place: str, record: Record, number: int) -> Problem:
    """The problem of a record of the format `kind` (see `kind_of`).

    Raises:
        InputError: it is none; says what is wrong, and that it stands at `place`.
    """
    try:
        return _READERS[kind](record, number)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        what = f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{place} is no record of the format {kind}: {what}") from error


def _of_nvidia(record: Record, number: int) -> Problem:
    """The prompt is taken apart as our own fields say, else by its template."""
    prompt, prefix = _needed(record, "input", str), _field(record, "answer_prefix", str, "")
    given: Record
    if "context_span" in record:
        start, end = record["context_span"]
        if not 0 <= start <= end <= len(prompt):
            raise ValueError(f"the field 'context_span' does not lie in an input of {len(prompt)} characters")
        given = {"head": prompt[:start], "context": prompt[start:end], "tail": prompt[end:]}
        return _problem(record, number, question=_needed(record, "question", str), answer_prefix=prefix, **given)
    found = part(prompt)
    if found.frame is None:
        given = {"notes": {"frame": "unknown: the prompt's last paragraph is taken for the question"}}
    else:
        given = _scored(found.frame)
    return _problem(
        record,
        number,
        question=found.question,
        context=found.context,
        head=found.head,
        tail=found.tail,
        answer_prefix=found.prefix + prefix,
        **given,
    )


def _of_memagent(record: Record, number: int) -> Problem:
    question, prefix = _needed(record, "input", str), _field(record, "answer_prefix", str, "")
    frame = frame_of(question, prefix)
    return _problem(
        record,
        number,
        question=question,
        context=_context(record),
        head=_field(record, "head", str, ""),
        tail=_field(record, "tail", str, ""),
        answer_prefix=prefix,
        **({} if frame is None else _scored(frame)),
    )


def _scored(frame: Frame) -> Record:
    return {"task": frame.kind, "metric": frame.metric, "max_tokens": frame.max_tokens}


def _of_eval(record: Record, number: int) -> Problem:
    question = _needed(record, "input", str)
    return _problem(
        record,
        number,
        question=question,
        context=_context(record),
        answers=record["answers"],
        head=_field(record, "head", str, HEAD),
        tail=_field(record, "tail", str, TAIL + question),
        answer_prefix=_field(record, "answer_prefix", str, PREFIX),
        **_ASKED,
    )


def _of_train(record: Record, number: int) -> Problem:
    about = _field(record, "extra_info", dict, {})
    question = about.get("question") or record["prompt"][-1]["content"]
    source = record.get("data_source")
    task = about.get("task") or task_of(str(source) if source in DATASETS else "hotpotqa")
    framed = {"head": HEAD, "tail": f"{TAIL}{question}", "answer_prefix": PREFIX}
    return _problem(
        about,
        number,
        question=_needed({"question": question}, "question", str),
        context=_context(record),
        answers=record["reward_model"]["ground_truth"],
        notes={} if source is None or about.get("notes") else {"dataset": source},
        **{**_ASKED, "task": task},
        **(framed if task in map(task_of, DATASETS) else {}),
    )


# What a question among other paragraphs is where the record does not say.
_ASKED: Mapping[str, Any] = {"task": "ruler-hqa", "metric": "sub_em", "max_tokens": MAX_TOKENS}


def _problem(record: Record, number: int, **given: Any) -> Problem:
    """The problem, with our own fields of the record over what is `given`."""
    task = _field(record, "task", str, given.pop("task", "ruler"))
    metric = _field(record, "metric", str, given.pop("metric", "ruler_all"))
    if metric not in METRICS:
        raise ValueError(f"there is no metric {metric!r}: there are {', '.join(METRICS)}")
    notes = {**given.pop("notes", {}), **_notes(record)}
    if record.get("num_docs") is not None:
        notes.setdefault("num_docs", record["num_docs"])
    answers = given.pop("answers", None) or record.get("outputs")
    return Problem(
        id=_field(record, "id", str, "-".join(map(str, _name(task, record, number)))),
        task=task,
        metric=metric,
        answers=_answers(answers),
        max_tokens=_field(record, "max_tokens", int, given.pop("max_tokens", 128)),
        length=_field(record, "length", int, None),
        tokenizer=_field(record, "tokenizer", str, None),
        facts=tuple(map(str, _field(record, "facts", list, []))),
        notes=notes,
        **given,
    )


def _name(task: str, record: Record, number: int) -> Iterator[Any]:
    yield task
    if record.get("num_docs") is not None:
        yield record["num_docs"]
    yield record.get("index", number)


def _notes(record: Record) -> dict[str, Any]:
    found = record.get("notes") or {}
    notes = json.loads(found) if isinstance(found, str) else found
    if not isinstance(notes, dict):
        raise ValueError("the field 'notes' must be an object")
    return notes


def _context(record: Record) -> str:
    if isinstance(record["context"], list):
        raise ValueError("its context is a list of document numbers: put the documents' texts in their place")
    return _needed(record, "context", str)


def _answers(found: Any) -> tuple[str, ...]:
    answers = (found,) if isinstance(found, str) else tuple(map(str, found or ()))
    if not answers:
        raise ValueError("there is no answer")
    return answers


def _field(record: Mapping[str, Any], name: str, kind: type[Kind], otherwise: Any) -> Any:
    """The field's value, or `otherwise` where it is missing or null."""
    return otherwise if record.get(name) is None else _needed(record, name, kind)


def _needed(record: Mapping[str, Any], name: str, kind: type[Kind]) -> Kind:
    value = record[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"the field {name!r} must be {_KINDS[kind]}, not {value!r:.40}")
    return value


_KINDS: Mapping[type, str] = {str: "a text", int: "a whole number", list: "a list", dict: "an object"}
_READERS: Mapping[str, Callable[[Record, int], Problem]] = {
    "nvidia": _of_nvidia,
    "memagent": _of_memagent,
    "eval-json": _of_eval,
    "train-parquet": _of_train,
}
