"""Small data in the schemas of the published datasets, all of it made up; and how a document is read back."""

import gzip
import json
import random
import re

NOUNS = [
    "harbour",
    "mill",
    "orchard",
    "bridge",
    "tower",
    "garden",
    "market",
    "quarry",
    "chapel",
    "library",
    "canal",
    "forge",
    "vineyard",
    "meadow",
]
VERBS = ["overlooks", "borders", "feeds", "shelters", "joins", "crosses", "faces", "follows"]
NAMES = [
    "Velm",
    "Orrin",
    "Tasca",
    "Brill",
    "Quist",
    "Dorne",
    "Halle",
    "Imber",
    "Jost",
    "Kerrin",
    "Lunde",
    "Marl",
    "Nesse",
    "Ostra",
    "Pell",
    "Rask",
]
DOCUMENT = re.compile(r"(?:^|\n\n)Document (\d+):\n")


def sentence(rng):
    return f"The {rng.choice(NOUNS)} of {rng.choice(NAMES)} {rng.choice(VERBS)} the {rng.choice(NOUNS)}."


def text(rng, sentences):
    return " ".join(sentence(rng) for _ in range(sentences))


def hotpot(number, *, split=None, paragraphs=10, sentences=(2, 6)):
    """The river of a person's town: two paragraphs tell, the others are the dataset's own distractors."""
    rng = random.Random(f"hotpot/{number}")
    person, town, river = f"Ada {NAMES[number % 16]} {number}", f"Town {number}", f"river Wye {number}"
    gold = [
        [person, [f"{person} was born in {town}.", f" {sentence(rng)}"]],
        [town, [sentence(rng), f" The {river} flows through {town}."]],
    ]
    others = [
        [f"Place {number}-{at}", [sentence(rng), *(f" {sentence(rng)}" for _ in range(rng.randint(*sentences)))]]
        for at in range(paragraphs - 2)
    ]
    record = {
        "_id": f"hq{number}",
        "question": f"Which river flows through the town where {person} was born?",
        "answer": river,
        "type": "bridge",
        "level": "hard",
        "supporting_facts": [[person, 0], [town, 1]],
        "context": gold + others,
    }
    return record if split is None else {**record, "split": split}


def musique(number):
    rng = random.Random(f"musique/{number}")
    told = {3: f"Mira {number} painted the Hall {number}.", 7: f"The Hall {number} stands in Port {number}."}
    return {
        "id": f"2hop__{number}_{number + 1}",
        "question": f"Where stands what Mira {number} painted?",
        "answer": f"Port {number}",
        "answer_aliases": [f"Port no. {number}", ""],
        "answerable": True,
        "paragraphs": [
            {
                "idx": at,
                "title": f"Page {number}-{at}",
                "paragraph_text": told.get(at) or text(rng, rng.randint(1, 4)),
                "is_supporting": at in told,
            }
            for at in range(20)
        ],
    }


def squad(number):
    """An article of two paragraphs with two questions."""
    rng = random.Random(f"squad/{number}")
    paragraphs = []
    for at in range(2):
        year = 1200 + 2 * number + at
        before, fact = text(rng, 2), f"Gate {number}-{at} was built in {year}."
        context = f"{before} {fact} {text(rng, 2)}"
        answer = {"text": str(year), "answer_start": context.index(str(year))}
        asked = {"id": f"sq{number}-{at}", "question": f"When was gate {number}-{at} built?", "answers": [answer] * 2}
        paragraphs.append({"context": context, "qas": [asked]})
    return {"title": f"Castle_{number}", "paragraphs": paragraphs}


def nq(number):
    rng = random.Random(f"nq/{number}")
    return {
        "question": f"who keeps the lamp of pier {number}",
        "answers": [f"Keeper {number}", f"the keeper {number}"],
        "ctxs": [
            {
                "title": f"Pier {number}",
                "text": f"{sentence(rng)} Keeper {number} keeps the lamp. {sentence(rng)}",
                "isgold": True,
            }
        ],
        "nq_annotated_gold": {},
    }


def qmsum(number, *, turns=30):
    rng = random.Random(f"qmsum/{number}")
    turns_of = [{"speaker": f"Speaker {at % 3}", "content": f" {text(rng, 2)}  "} for at in range(turns)]
    turns_of[5]["content"] = f"We paint the door number {number} green."
    return {
        "topic_list": [],
        "general_query_list": [{"query": "Summarize the meeting.", "answer": f"It was about the door {number}."}],
        "specific_query_list": [
            {
                "query": "What was decided about the door?",
                "answer": f"Door {number} becomes green.",
                "relevant_text_span": [["4", "6"]],
            }
        ],
        "meeting_transcripts": turns_of,
    }


RECORDS = {"hotpotqa": hotpot, "2wiki": hotpot, "musique": musique, "squad": squad, "nq": nq}


def paragraph(number, src="hotpot", sentences=3):
    rng = random.Random(f"paragraph/{src}/{number}")
    return {"title": f"{src} page {number}", "text": text(rng, rng.randint(1, 2 * sentences)), "src": src}


def write_lines(path, found):
    """JSON lines, packed where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(record) + "\n" for record in found).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def dataset(folder, name, count=12, **given):
    """A file of so many records of a dataset."""
    return str(write_lines(folder / f"{name}.jsonl", [RECORDS[name](number, **given) for number in range(count)]))


def documents(context):
    """The documents of a context by their numbers, found by their headings alone."""
    parts = DOCUMENT.split(context)
    assert parts[0] == ""
    return {int(number): body for number, body in zip(parts[1::2], parts[2::2], strict=True)}


def one_line(error):
    """The message of a caught error, which has to be one line."""
    message = str(error.value)
    assert message and "\n" not in message and len(message) < 400, message
    return message


def check_length(problem, tokens, tokenizer):
    """The length is that of the whole prompt and what is to be generated; at most 1% is missing."""
    whole = problem.head + problem.context + problem.tail + problem.answer_prefix
    assert problem.length == tokenizer.count(whole) + problem.max_tokens
    assert 0.99 * tokens <= problem.length <= tokens, problem.id
    assert problem.tokenizer == tokenizer.name
