"""Rollouts are readings of the one reader, and what is learnt from is what was sampled."""

import asyncio
from dataclasses import replace

import pytest
import torch
from tests.models import tiny
from tests.training.conftest import policy

from memagent.errors import WindowOverflow
from memagent.models.scripted import Fault, ScriptedModel, tagged
from memagent.models.tokenizers import HubTokenizer
from memagent.reading import Journal, Settings
from memagent.tasks.problem import Problem
from memagent.training.actor import Actor
from memagent.training.advantages import Row
from memagent.training.packing import Tree, lay_out
from memagent.training.sampling import Asked, Sampler, group, seeds, tally

SETTINGS = Settings(protocol="gated", chunk_tokens=60, memory_tokens=12, answer_tokens=8, temperature=1.0)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tiny.write_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return HubTokenizer(folder / "tokenizer.json", name="tiny")


@pytest.fixture
def actor(tokenizer):
    made = Actor(tiny.torch_model(tiny.weights()), tokenizer, name="tiny", window=512, end_ids=[2], rows=32)
    yield made
    made.close()


def problem(number, words=30):
    return Problem(
        id=f"p{number}", task="t", question=f"Who is {number}?", answers=("x",), metric="em",
        context=f"It is {number}. " + "the tin " * words,
    )  # fmt: skip


def letters(problem, read):
    return {"score": sum(letter in "aeiou" for letter in read.reading.reply) / 10}


def sampler(actor, **changes):
    return Sampler(model=actor.model, settings=replace(SETTINGS, **changes), taking_part=actor.taking_part)


def made_by(actor, problems, *, size=3, seed=1, **changes):
    return asyncio.run(sampler(actor, **changes).read(seeds(problems, size=size, seed=seed)))


def sampled(made):
    return [tuple((call.token_ids, call.logprobs) for call in one.calls) for one in made]


def test_the_same_seed_draws_the_same(actor):
    problems = [problem(1), problem(2, words=70)]
    first, again, other = (sampled(made_by(actor, problems, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first)) == len(first)


def test_every_call_becomes_a_conversation_with_what_was_sampled(actor):
    made = made_by(actor, [problem(1)])
    found = group(made, letters)
    for one, rollout in zip(made, found.rollouts, strict=True):
        assert len(rollout.conversations) == len(one.calls) == len(one.read.turns) + 1
        for call, conversation in zip(one.calls, rollout.conversations, strict=True):
            assert (conversation.prompt, conversation.completion) == (call.prompt_ids, call.token_ids)
        assert rollout.conversations[-1].place == "answer" and rollout.reward == sum(rollout.parts.values())


def test_the_learner_agrees_with_the_sampler(actor, tokenizer):
    """With the same weights in 32 bits the two log-probabilities of each sampled id are equal."""
    made = policy(size=0.5)
    actor.follow(made.merged_weights())
    found = group(made_by(actor, [problem(1)]), letters)
    for rollout in found.rollouts:
        for conversation in rollout.conversations:
            with torch.no_grad():
                ours = made.logprobs(lay_out([Tree((), (Row(conversation, 0.0, 0.0),))]))
            assert ours.tolist() == pytest.approx(conversation.logprobs, abs=2e-5)


def test_weights_are_followed(actor):
    before = sampled(made_by(actor, [problem(1)]))
    actor.follow(policy(size=0.5).merged_weights())
    assert sampled(made_by(actor, [problem(1)])) != before


def test_prompts_share_what_they_begin_with_alike(actor):
    found = group(made_by(actor, [problem(1)], size=4), letters)
    for place in ("0", "1", "answer"):
        same = [c for rollout in found.rollouts for c in rollout.conversations if c.place == place]
        prefixes = {conversation.prefix for conversation in same}
        assert len(prefixes) == 1 and len(next(iter(prefixes))) > 20
        rest = {conversation.prompt[conversation.shared] for conversation in same}
        short = min(len(conversation.prompt) for conversation in same)
        assert len(rest) > 1 or same[0].shared == short - 1


def test_a_part_of_the_problems_is_sampled_as_within_the_whole():
    problems = [problem(number) for number in range(5)]
    whole = seeds(problems, size=2, seed=9)
    parts = [seeds(problems[rank::2], size=2, seed=9, first=rank, step=2) for rank in (0, 1)]
    assert sorted((one.problem.id, one.seed) for one in whole) == sorted(
        (one.problem.id, one.seed) for part in parts for one in part
    )
    assert len({one.seed for one in whole}) == 10


def test_readings_can_be_opened(actor, tmp_path):
    journal = Journal(tmp_path)
    kept = replace(sampler(actor), journal=journal)
    (one,) = asyncio.run(kept.read([Asked(problem=problem(1), seed=3, kept=True)]))
    assert journal.entry(one.read.reading.reading_id).problem == "Who is 1?"
    assert len(journal.turns(one.read.reading.reading_id)) == len(one.read.turns)
    journal.close()


def test_the_sums_over_readings(tokenizer):
    """A scripted reader keeps, adds and adds again; the facts stand in the first chunk."""
    replies = ["Add: One fact.", "Add: Something else.", "Keep", "Keep", "Keep", "Keep"]
    model = ScriptedModel(lambda request: "\\boxed{x}" if "<section>" not in request.prompt.text else replies.pop(0))
    text = "One fact. " + "Nothing is told here. " * 40
    asked = Problem(
        id="p", task="t", question="Which?", answers=("x",), metric="em", context=text, facts=("One fact.",)
    )  # fmt: skip
    settings = Settings(protocol="gated", chunk_tokens=70, memory_tokens=50)
    (one,) = asyncio.run(Sampler(model=model, settings=settings).read([Asked(problem=asked)]))
    chunks = 6 - len(replies)
    assert chunks >= 3
    found = tally(one, model.tokenizer)
    assert (found.readings, found.chunks, found.kept, found.false_changes) == (1, chunks, chunks - 2, 1)
    assert found.conversations == chunks + 1 and found.call_tokens > found.judged_tokens > 0
    assert found.false_rate == pytest.approx(1e6 / found.judged_tokens)
    unknown = tally(replace(one, problem=replace(asked, facts=())), model.tokenizer)
    assert (unknown.false_changes, unknown.judged_tokens, unknown.false_rate) == (0, 0, 0)
    assert (found + found).chunks == 2 * chunks


def test_a_model_without_ids_cannot_be_learnt_from():
    model = ScriptedModel(lambda request: "Keep")
    (made,) = asyncio.run(Sampler(model=model, settings=SETTINGS).read([Asked(problem=problem(1))]))
    dumb = tuple(replace(call, token_ids=None, logprobs=None) for call in made.calls)
    with pytest.raises(ValueError, match="tells no ids"):
        group([replace(made, calls=dumb)], letters)


def test_a_chunk_that_is_cut_again_loses_no_call():
    """The model refuses what is too long; its halves are read instead, and the calls that failed are no turns."""

    def choosy(request):
        chunk = tagged(request.prompt.text, "section")
        return Fault(error=WindowOverflow("too long")) if chunk and len(chunk) > 150 else "Keep"

    (made,) = asyncio.run(Sampler(model=ScriptedModel(choosy), settings=SETTINGS).read([Asked(problem=problem(1))]))
    assert made.read.reading.tally.recut > 0
    assert len(made.calls) == len(made.read.turns) + 1 == len(group([made], letters).rollouts[0].conversations)
