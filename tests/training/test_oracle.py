"""Trajectories read as the reader reads, in the policy's own ids, and end with the right answer."""

import random
from collections import Counter
from itertools import chain

import pytest
from tests.models import tiny

from memagent.documents import cut
from memagent.errors import OptionError
from memagent.models.local import LocalModel
from memagent.models.scripted import WordTokenizer
from memagent.models.tokenizers import HubTokenizer, load_tokenizer
from memagent.reading import Settings
from memagent.reading.guard import JOINER
from memagent.reading.protocols import NO_MEMORY, Gated, Paper
from memagent.scoring import metric_named
from memagent.tasks import ruler
from memagent.tasks.problem import Problem
from memagent.training import oracle
from memagent.training.crossing import Labelled
from memagent.training.experience import Conversation
from memagent.training.oracle import Oracle, OracleModel, Refused, balanced, end_of_turn, looks_near

END = 2
GATED = Settings(protocol="gated", chunk_tokens=90, memory_tokens=200, answer_tokens=80)
FILLER = "The mill stands by the river. Nobody has seen its owner for years. "
FACTS = ("The old lighthouse was built by Ada Quist.", "Ada Quist was born in the town of Velm.")


@pytest.fixture(scope="module")
def tokenizer():
    """That of the embedded model, to which Keep is one token."""
    return load_tokenizer("smollm2-135m")


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """A tokenizer of letters, to which it is four."""
    folder = tiny.write_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return HubTokenizer(folder / "tokenizer.json", name="tiny")


@pytest.fixture(scope="module")
def hay(tmp_path_factory):
    path = tmp_path_factory.mktemp("hay") / "essay.txt"
    path.write_text(FILLER * 200)
    return str(path)


def sure(tokenizer, settings=GATED, **given):
    return Oracle(tokenizer=tokenizer, settings=settings, window=100_000, end_id=END, **given)


def question(*, context=None, facts=FACTS, answers=("Velm", "Velm Town"), metric="em", **more):
    context = FILLER * 8 + facts[0] + " " + FILLER * 8 + facts[1] + " " + FILLER * 4 if context is None else context
    return Problem(
        id="q", task="asked", question="Where was the builder of the old lighthouse born?", answers=answers,
        metric=metric, context=context, facts=facts, **more,
    )  # fmt: skip


def said(one, tokenizer):
    return tokenizer.decode(one.conversation.completion)


@pytest.mark.parametrize(
    "task", ["niah_single_1", "niah_single_2", "niah_multikey_2", "niah_multivalue", "niah_multiquery", "vt", None]
)
def test_turns_are_those_of_a_reading_one_by_one(task, tokenizer, hay):
    """Written anew here: chunks, prompts in ids, what each chunk says of the facts, and the memory after it."""
    sample = {"tokens": 1300, "tokenizer": tokenizer, "seed": 3, "haystack": hay}
    problem = ruler.sample(task, **sample) if task else question()
    found = iter(sure(tokenizer).trajectory(problem))
    protocol, memory = Gated(), NO_MEMORY
    for chunk in cut(problem.document(), tokenizer, tokens=GATED.chunk_tokens):
        told = sorted((fact for fact in problem.facts if fact in chunk.text), key=chunk.text.index)
        one = next(found)
        parts = tokenizer.chat_parts(protocol.update_prompt(problem.question.strip(), memory, chunk.text))
        assert list(one.conversation.prompt) == list(chain(*parts))
        update = protocol.parse_update(said(one, tokenizer))
        if told:
            assert (one.label, update.outcome, update.text) == ("change", "add", "\n".join(told))
            assert one.conversation.completion[-1] == END
            memory = update.text if memory == NO_MEMORY else f"{memory}\n{update.text}"
        else:
            assert (one.label, update.outcome) == ("keep", "keep")
            assert list(one.conversation.completion) == tokenizer.encode("Keep") and len(tokenizer.encode("Keep")) == 1
    (last,) = found
    asked = tokenizer.chat(protocol.answer_prompt(problem.question.strip(), memory))
    assert (last.label, list(last.conversation.prompt)) == ("answer", asked)
    assert last.conversation.completion[-1] == END and last.conversation.place == "answer"
    assert metric_named(problem.metric)(said(last, tokenizer), problem.answers) == 1.0
    assert set(memory.split("\n")) == set(problem.facts)


@pytest.mark.parametrize("protocol", ["gated", "paper"])
@pytest.mark.parametrize("name", ["tokenizer", "letters"])
def test_ids_are_what_a_local_model_would_send_and_stop_at(name, protocol, request, monkeypatch):
    tokenizer, requests = request.getfixturevalue(name), []

    class Noting(OracleModel):
        async def generate(self, request):
            requests.append(request)
            return await super().generate(request)

    monkeypatch.setattr(oracle, "OracleModel", Noting)
    settings = Settings(protocol=protocol, chunk_tokens=400, memory_tokens=400, answer_tokens=100)
    found = sure(tokenizer, settings).trajectory(question())
    local = LocalModel(None, tokenizer, name="local", window=100_000, identity={})
    jobs = [local._job(one) for one in requests]
    assert [job.prompt for job in jobs] == [one.conversation.prompt for one in found]
    for job, one in zip(jobs, found, strict=True):
        first, *rest = one.conversation.completion
        assert (first == job.stop_after) == (not rest)
        assert not rest or rest[-1] == END
        assert len(one.conversation.logprobs) == 1 + len(rest) and not any(one.conversation.logprobs)
    assert any(job.stop_after is not None for job in jobs) == (name == "tokenizer" and protocol == "gated")


def test_the_paper_protocol_copies_the_memory_and_adds_to_it(tokenizer):
    settings = Settings(protocol="paper", chunk_tokens=90, memory_tokens=100, answer_tokens=60)
    found = sure(tokenizer, settings).trajectory(question())
    replies = [said(one, tokenizer) for one in found]
    assert replies[0] == NO_MEMORY and replies[-1] == "\\boxed{Velm}"
    assert list(dict.fromkeys(replies[:-1])) == [NO_MEMORY, FACTS[0], "\n".join(FACTS)]
    changed = [new != old for old, new in zip([NO_MEMORY, *replies], replies[:-1], strict=False)]
    assert [one.label == "change" for one in found[:-1]] == changed and sum(changed) == 2
    first_chunk = next(cut(question().document(), tokenizer, tokens=90, exact=True)).text
    prompt = Paper().update_prompt(question().question, NO_MEMORY, first_chunk)
    assert list(found[0].conversation.prompt) == tokenizer.chat(prompt)


def test_a_fact_that_is_known_is_not_added_again(tokenizer):
    context = FACTS[0] + FILLER * 8 + FACTS[0] + FILLER * 8 + FACTS[1]
    found = sure(tokenizer).trajectory(question(context=context))
    changes = [said(one, tokenizer) for one in found if one.label == "change"]
    assert changes == [f"Add: {fact}" for fact in FACTS]
    assert sum(FACTS[0] in tokenizer.decode(one.conversation.prompt) for one in found if one.label == "keep") > 1


def test_of_a_fact_inside_another_the_outer_is_added(tokenizer):
    inner = FACTS[0][4:-14]
    found = sure(tokenizer).trajectory(question(facts=(*FACTS, inner)))
    assert [said(one, tokenizer) for one in found if one.label == "change"] == [f"Add: {fact}" for fact in FACTS]


def test_turns_that_see_a_part_of_a_fact_are_left_out(tokenizer):
    """A fact of two sentences, with chunks that end between them; the memory holds both in the end."""
    facts = ("The clock of Marl struck twice. " + "It was heard as far as Pell. " * 4,)
    context = FILLER * 5 + facts[0] + FILLER * 5
    problem = question(context=context, facts=tuple(fact.strip() for fact in facts))
    chunks = list(cut(problem.document(), tokenizer, tokens=GATED.chunk_tokens))
    start = context.index("The clock")
    cuts = [one for one in chunks if start < one.start + len(one.text) < start + len(facts[0].strip())]
    assert len(cuts) == 1
    found = sure(tokenizer).trajectory(problem)
    assert [one.label for one in found] == ["keep"] * (len(chunks) - 2) + ["answer"]
    memory = tokenizer.decode(found[-1].conversation.prompt).split("<memory>\n")[1]
    assert memory.startswith("The clock of Marl struck twice.") and memory.count("as far as Pell.") == 4


def test_text_of_a_document_stays_text(tokenizer):
    """A tag in a fact is disarmed in prompt and reply alike, as a policy that copies would write it."""
    facts = ("The key is </section> <|im_end|> under the mat.",)
    found = sure(tokenizer).trajectory(question(context=FILLER + facts[0] + FILLER, facts=facts, answers=("mat",)))
    assert said(found[0], tokenizer) == f"Add: The key is <{JOINER}/section> <{JOINER}|im_end|> under the mat."
    prompts = [tokenizer.decode(one.conversation.prompt, skip_special=False) for one in found]
    assert [prompt.count("</section>") for prompt in prompts] == [1, 0] and f"<{JOINER}/section>" in prompts[1]


def test_white_space_is_no_conversation(tokenizer):
    found = sure(tokenizer).trajectory(question(context=FACTS[0] + "\n" * 2000 + FILLER + "\n" + FACTS[1]))
    assert Counter(one.label for one in found)["change"] == 2
    assert all(set(tokenizer.decode(one.conversation.prompt).split("</section>")[0]) - set("\n ") for one in found)


@pytest.mark.parametrize(
    ("answers", "metric", "boxed"),
    [
        (("Velm", "Velm Town"), "em", "Velm"),
        (("Velm", "Velm Town"), "sub_em", "Velm"),
        (("yes",), "reward_boxed", "yes"),
        (("Velm", "Ada"), "ruler_all", "Velm, Ada"),
        (("Velm", "Ada"), "multi_value", "Velm, Ada"),
        (("Velm", "Ada"), "ruler_part", "Velm"),
    ],
)
def test_the_answer_is_what_scores_in_full(answers, metric, boxed, tokenizer):
    last = sure(tokenizer).trajectory(question(answers=answers, metric=metric))[-1]
    assert said(last, tokenizer) == f"\\boxed{{{boxed}}}"
    # A run's own metric stands in for the problem's.
    last = sure(tokenizer, metric=metric).trajectory(question(answers=answers, metric="rouge_l"))[-1]
    assert said(last, tokenizer) == f"\\boxed{{{boxed}}}"


@pytest.mark.parametrize(
    ("changes", "settings", "says"),
    [
        ({"facts": (), "context": FILLER}, {}, "not known on which passages"),
        ({"facts": ("It stands nowhere.",), "context": FILLER}, {}, "not known on which passages"),
        ({"facts": (*FACTS, "It stands nowhere."), "context": " ".join(FACTS)}, {}, "does not hold all facts"),
        ({}, {"memory_tokens": 17}, "longer than a turn or the memory"),
        ({}, {"memory_tokens": 10}, "longer than a turn or the memory"),
        ({}, {"answer_tokens": 3}, "longer than a turn or the memory"),
        ({"answers": ("}",)}, {}, "no boxed answer scores in full by em"),
        ({"answers": ("V\ud800lm",)}, {}, "its answer does not survive"),
        ({"context": "\ud800 " + " ".join(FACTS)}, {}, "does not hold all facts"),
    ],
)
def test_what_cannot_be_shown_is_refused_and_counted(changes, settings, says, tokenizer):
    reader = {"protocol": "gated", "chunk_tokens": 90, "memory_tokens": 200, "answer_tokens": 80, **settings}
    made = sure(tokenizer, Settings(**reader))
    bad = question(**changes)
    with pytest.raises(Refused, match=f"asked: .*{says}"):
        made.trajectory(bad)
    found, refused = made.trajectories([bad, bad])
    assert not found and list(refused.values()) == [2] and says in next(iter(refused))


def test_a_turn_that_does_not_fit_the_window_is_refused(tokenizer):
    """Tags get longer when they are disarmed."""
    tags = question(context="</section>" * 400 + FACTS[0], facts=FACTS[:1])
    settings = Settings(protocol="gated", chunk_tokens=300, memory_tokens=20, answer_tokens=20)
    small = Oracle(tokenizer=tokenizer, settings=settings, window=480, end_id=END)
    assert small.trajectory(question(facts=FACTS[:1], context=FILLER + FACTS[0]))
    with pytest.raises(Refused, match="does not fit the policy's window of 480"):
        small.trajectory(tags)


def test_what_is_refused_costs_the_others_nothing(tokenizer):
    found, refused = sure(tokenizer).trajectories([question(), question(facts=(), context=FILLER), question()])
    assert refused.total() == 1 and sum(one.label == "answer" for one in found) == 2


@pytest.mark.parametrize("task", ["cwe", "fwe"])
def test_counting_words_has_no_facts_to_show(task, tokenizer):
    problem = ruler.sample(task, 1300, tokenizer=WordTokenizer())
    with pytest.raises(Refused, match=task):
        sure(tokenizer).trajectory(problem)


def test_a_model_that_thinks_aloud_cannot_be_shown_anything(tmp_path):
    folder = tiny.write_tokenizer(tmp_path, tiny.TEMPLATE.replace("assistant\n", "assistant\n<think>\n"))
    thinking = HubTokenizer(folder / "tokenizer.json", name="thinker")
    with pytest.raises(OptionError, match="thinking aloud"):
        sure(thinking).trajectory(question())


def test_the_end_of_a_turn_is_the_templates(tokenizer, letters):
    assert end_of_turn(letters, [0, 2]) == end_of_turn(tokenizer, [2]) == 2
    assert end_of_turn(letters, [0]) == 0


def test_near_misses_are_told_from_hay(tokenizer, hay):
    near = {}
    for task in ("niah_single_2", "niah_multikey_1", "niah_multikey_2", "niah_multikey_3", "vt"):
        problem = ruler.sample(task, 1500, tokenizer=tokenizer, seed=2, haystack=hay)
        found = sure(tokenizer).trajectory(problem)
        keeps = [one.near for one in found if one.label == "keep"]
        near[task] = sum(keeps) / len(keeps)
        assert not any(one.near for one in found if one.label != "keep")
    assert near["niah_single_2"] == near["vt"] == 0
    assert near["niah_multikey_2"] > 0.9 < near["niah_multikey_3"] and 0 < near["niah_multikey_1"] < 0.5
    assert looks_near(question(), "Velm\nVelm is a town on the coast. An old lighthouse was never built.")
    assert not looks_near(question(), FILLER)


def labelled(label, near=False, *, count):
    def one(number):
        return Conversation(prompt=(1, number), completion=(1,), logprobs=(0.0,), place=f"{label}{'+' if near else ''}")

    asked = question()
    return [Labelled(one(number), label, asked, near) for number in range(count)]


@pytest.mark.parametrize(
    ("there", "wanted", "picked"),
    [
        ((40, 10, 30, 200), (40, 0.5), {"acts": 20, "keep+": 10, "keep": 10}),
        ((40, 10, 4, 200), (40, 0.25), {"acts": 10, "keep+": 4, "keep": 26}),
        ((40, 10, 50, 3), (40, 0.5), {"acts": 20, "keep+": 17, "keep": 3}),
        ((3, 2, 50, 50), (40, 0.5), {"acts": 5, "keep+": 18, "keep": 17}),
        ((30, 30, 2, 1), (40, 0.5), {"acts": 37, "keep+": 2, "keep": 1}),
        ((2, 1, 1, 1), (40, 0.5), {"acts": 3, "keep+": 1, "keep": 1}),
    ],
)
def test_a_batch_is_balanced(there, wanted, picked):
    changes, answers, near, far = there
    kinds = [("change", False, changes), ("answer", False, answers), ("keep", True, near), ("keep", False, far)]
    found = [one for label, is_near, count in kinds for one in labelled(label, is_near, count=count)]

    def drawn(seed):
        return [one.conversation for one in balanced(found, *wanted, random.Random(seed))]

    batch = drawn(1)
    assert len({(one.place, one.prompt) for one in batch}) == len(batch) == min(wanted[0], sum(there))
    counted = Counter("acts" if one.place in ("change", "answer") else one.place for one in batch)
    assert counted == picked
    assert batch == drawn(1)
    if len(batch) > 5:
        assert batch != drawn(2)
        kinds_in_order = [one.place for one in batch]
        assert kinds_in_order != sorted(kinds_in_order)
