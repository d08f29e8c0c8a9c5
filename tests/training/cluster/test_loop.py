"""The agent loop against servers made of rules, as verl makes and runs it; advantages by verl's own function."""

import asyncio
import random
from dataclasses import replace

import numpy
import pytest
import torch
from tests.reading.oracle import document_text
from tests.training.cluster.conftest import RECIPE

from memagent.errors import StoppedError
from memagent.models.base import Sampling
from memagent.models.engines.base import Job
from memagent.tasks.jsonl import write
from memagent.tasks.problem import Problem
from memagent.tasks.records import write_train_parquet
from memagent.training.advantages import group_advantages
from memagent.training.cluster import checking
from memagent.training.cluster.configuration import TOTAL, Cluster, agent_loops
from memagent.training.cluster.data import conversations, write_problems
from memagent.training.cluster.launching import plan, yaml
from memagent.training.cluster.loop import problem_of
from memagent.training.cluster.served import ServedEngine
from memagent.training.mixture import Mixture
from memagent.training.recipe import Recipe

SAMPLING = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0, "logprobs": True}


def problem(number, keys=3):
    text = document_text(4 * keys, every=4, words=12).replace("Key ", f"Key {number}")
    return Problem(
        id=f"p{number}", task="keys", question="Which keys have a value?", answers=("value3",), metric="sub_em",
        context=text, facts=tuple(f"Key {number}{at} is value{at}." for at in range(3, 4 * keys, 4)),
    )  # fmt: skip


@pytest.fixture
def run(base, tmp_path):
    """A planned run over a file of problems, its recipe written where the loop looks."""
    write(tmp_path / "problems.jsonl", [problem(number) for number in range(1, 6)])
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.format(base=base, file=tmp_path / "problems.jsonl"))
    planned = plan(Recipe.read(recipe), tmp_path / "run", Cluster(nodes=1, gpus=1))
    planned.places.run.mkdir()
    planned.places.recipe.write_text(planned.recipe.text())
    planned.places.loop.write_text(yaml(agent_loops(planned.places)))
    return planned


def loop_of(run, servers, base):
    """As `AgentLoopWorker` makes it from its registry."""
    import hydra
    from omegaconf import OmegaConf
    from transformers import AutoTokenizer
    from verl.experimental.agent_loop.agent_loop import DictConfigWrap, ToolListWrap
    from verl.utils.dataset.rl_dataset import RLHFDataset

    config = checking.compose(run.settings)
    (found,) = OmegaConf.load(run.places.loop)
    return hydra.utils.instantiate(
        config=found,
        trainer_config=DictConfigWrap(config=config),
        server_manager=servers,
        tokenizer=AutoTokenizer.from_pretrained(base),
        processor=None,
        dataset_cls=RLHFDataset,
        data_config=DictConfigWrap(config.data),
        tools=ToolListWrap([]),
    )


def row_of(path, number):
    """A row as verl's dataset gives it."""
    from omegaconf import OmegaConf
    from verl.utils.dataset.rl_dataset import RLHFDataset

    options = OmegaConf.create({"filter_overlong_prompts": False, "cache_dir": str(path.parent / "cache")})
    return RLHFDataset([str(path)], tokenizer=None, config=options)[number]


@pytest.fixture
def rolled(run, servers, base, tmp_path):
    write_train_parquet(tmp_path / "one.parquet", [problem(7)])
    row = row_of(tmp_path / "one.parquet", 0)
    loop = loop_of(run, servers, base)
    return asyncio.run(loop.run(dict(SAMPLING), uid="u", session_id=0, global_steps=1, **row))


def test_every_conversation_is_a_row_with_what_was_sampled(rolled, servers, tokenizer):
    assert len(rolled) == len(servers.calls) > 4
    for output, (_, prompt, asked) in zip(rolled, servers.calls, strict=True):
        assert tuple(output.prompt_ids) == prompt
        assert output.response_mask == [1] * len(output.response_ids)
        assert output.response_logprobs == [-0.5 / (1 + at) for at in range(len(output.response_ids))]
        assert asked["max_tokens"] == 120 and asked["temperature"] == 1.0 and asked["logprobs"]
        assert output.extra_fields["min_global_steps"] == 3 and output.extra_fields["max_global_steps"] == 4
    assert len({request for request, _, _ in servers.calls}) == 1
    replies = [tokenizer.decode(output.response_ids) for output in rolled]
    assert replies[-1].startswith("\\boxed{") and sum(reply.startswith("Add:") for reply in replies) == 3


def test_the_last_row_bears_the_reward(rolled):
    assert [output.reward_score for output in rolled[:-1]] == [None] * (len(rolled) - 1)
    told = rolled[-1].extra_fields["reward_extra_info"]
    assert told == {"score": 1.0, "gate": 0.5, TOTAL: 1.5} and rolled[-1].reward_score == 1.5


def test_rows_become_what_verl_stores(rolled):
    stored = rolled[-1].as_dict()
    assert stored["rm_scores"][-1] == 1.5 and stored["rm_scores"].sum() == 1.5
    assert stored["rollout_log_probs"].shape == stored["responses"].shape == stored["response_mask"].shape


def test_rows_of_a_reading_make_one_batch(rolled):
    """As `AgentLoopWorkerTQ` puts them into the queue, with the row's own columns beside."""
    from verl.utils.tensordict_utils import list_of_dict_to_tensordict

    fields = [{**output.as_dict(), "context": "text", "index": 0} for output in rolled]
    for field in fields[:-1]:
        field["rm_scores"] = torch.zeros_like(field["response_mask"], dtype=torch.float32)
    assert list_of_dict_to_tensordict(fields).batch_size[0] == len(rolled)


def test_turns_that_were_cut_off_can_be_left_out(run, servers, base, tmp_path):
    text = run.recipe.text().replace('cut_off = "keep"', 'cut_off = "mask"')
    run.places.recipe.write_text(text.replace("memory_tokens = 120", "memory_tokens = 8"))
    write_train_parquet(tmp_path / "one.parquet", [problem(8)])
    loop = loop_of(run, servers, base)
    found = asyncio.run(loop.run(dict(SAMPLING), **row_of(tmp_path / "one.parquet", 0)))
    cut = [len(output.response_ids) == 8 for output in found[:-1]]
    assert [not any(output.response_mask) for output in found[:-1]] == cut and any(cut) and not all(cut)
    assert all(found[-1].response_mask)


def test_validation_reads_greedily(run, servers, base, tmp_path):
    write_train_parquet(tmp_path / "one.parquet", [problem(9)])
    loop = loop_of(run, servers, base)
    asyncio.run(loop.run({**SAMPLING, "temperature": 0}, **row_of(tmp_path / "one.parquet", 0)))
    assert {asked["temperature"] for _, _, asked in servers.calls} == {0.0}


def test_what_servers_give_up_fails_the_rollout(run, servers, base, tmp_path):
    answer = servers.generate

    async def aborted(*args, **more):
        found = await answer(*args, **more)
        found.stop_reason = "aborted" if len(servers.calls) == 3 else "completed"
        return found

    servers.generate = aborted
    write_train_parquet(tmp_path / "one.parquet", [problem(9)])
    with pytest.raises(StoppedError, match="gave a call up"):
        asyncio.run(loop_of(run, servers, base).run(dict(SAMPLING), **row_of(tmp_path / "one.parquet", 0)))


def engine_over(servers):
    return ServedEngine(servers, SAMPLING)


def job(**changes):
    return Job(prompt=(1, 2, 3), max_tokens=8, sampling=Sampling(temperature=1.0, top_p=1.0, seed=None), **changes)


async def run_on(servers, **changes):
    return await asyncio.wrap_future(engine_over(servers).submit(job(**changes)))


class Says:
    """Servers that answer with these ids, or fail."""

    def __init__(self, *replies):
        self.replies = list(replies)

    async def generate(self, request_id, *, prompt_ids, sampling_params):
        from verl.workers.rollout.replica import TokenOutput

        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return TokenOutput(token_ids=reply, log_probs=[-1.0] * len(reply), stop_reason="completed")


def test_a_word_that_is_all_of_a_reply_ends_it():
    """A policy taught to say "Keep" alone ends there, whatever a server samples behind it."""
    found = asyncio.run(run_on(Says([7, 8, 9, 8, 7, 6, 5, 4]), stop_after=7))
    assert (found.token_ids, found.logprobs, found.finish) == ((7,), (-1.0,), "stop")
    found = asyncio.run(run_on(Says([8, 7, 9]), stop_after=7))
    assert found.token_ids == (8, 7, 9)


def test_a_server_that_comes_back_is_asked_again(monkeypatch):
    from ray.exceptions import ActorUnavailableError

    monkeypatch.setattr("memagent.training.cluster.served.PAUSE", 0.0)
    away = ActorUnavailableError("busy", actor_id=None)
    assert asyncio.run(run_on(Says(away, away, [5, 2]))).token_ids == (5, 2)
    with pytest.raises(StoppedError, match="failed a call 10 times"):
        asyncio.run(run_on(Says(*[away] * 10)))


def test_the_files_load_in_verls_dataset_and_come_back_as_they_were(run, tokenizer):
    places = run.places
    write_problems(run.recipe, tokenizer, train=places.train, held_out=places.validation, report=print)
    rows = [row_of(places.train, number) for number in range(4)]
    assert {problem_of(row).id for row in rows} <= {f"p{number}" for number in range(1, 6)}
    for row in rows:
        found = problem_of(row)
        assert found.context == problem(int(found.id[1:])).context and found.answers == ("value3",)
        assert row["raw_prompt"] == [{"role": "user", "content": "Which keys have a value?"}]
        assert found.facts == problem(int(found.id[1:])).facts


def test_conversations_are_counted_on_the_data(run, tokenizer):
    from memagent.documents import cut
    from memagent.reading.words import sentences

    mixture = Mixture(run.recipe.data, tokenizer, seed=0, curriculum=run.recipe.curriculum, batch=2)
    for more in ({}, {"reread": True}, {"confirm": True, "reread": True}, {"sift": 0.9}):
        reading = replace(run.recipe.reading, **more)
        exact = reading.protocol == "paper"
        chunks = list(cut(problem(1).document(), tokenizer, tokens=300, exact=exact))
        told = [chunk.text for chunk in chunks if any(fact in chunk.text for fact in problem(1).facts)]
        looks = sum(map(len, map(sentences, told))) if "sift" in more else len(more) * len(told)
        wanted = 1 + len(chunks) + looks
        found = conversations(mixture, replace(run.recipe, reading=reading), tokenizer)
        assert found == pytest.approx(wanted, abs=0.6), more


@pytest.mark.parametrize("divide", [False, True])
def test_verls_advantages_of_our_rows_are_our_trainers(divide):
    """Groups of rollouts with different numbers of conversations and tokens; the last row of each has the reward."""
    from verl.protocol import DataProto
    from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories

    rng = random.Random(4)
    keys, uids, masks, scores, wanted = [], [], [], [], []
    for uid in ("a", "b", "c"):
        rewards = [rng.choice([0.0, 0.5, 1.0]) for _ in range(4)]
        for session, (reward, advantage) in enumerate(
            zip(rewards, group_advantages(rewards, divide_by_std=divide), strict=True)
        ):
            turns = rng.randint(1, 5)
            for turn in range(turns):
                keys.append(f"{uid}_{session}_{turn}")
                uids.append(uid)
                masks.append([1.0] * rng.randint(1, 6))
                scores.append(reward)
                wanted.append(advantage)
    order = list(range(len(keys)))
    rng.shuffle(order)
    width = 6
    mask = torch.tensor([masks[at] + [0.0] * (width - len(masks[at])) for at in order])
    rewards = torch.zeros_like(mask)
    for place, at in enumerate(order):
        rewards[place, len(masks[at]) - 1] = scores[at]
    data = DataProto.from_dict(
        tensors={"response_mask": mask, "token_level_rewards": rewards},
        non_tensors={"uid": numpy.array([uids[at] for at in order], dtype=object)},
    )
    found = compute_advantage_for_multi_trajectories(
        data, [keys[at] for at in order], adv_estimator="grpo", norm_adv_by_std_in_grpo=divide
    )
    expected = torch.tensor([wanted[at] for at in order])[:, None] * mask
    torch.testing.assert_close(found.batch["advantages"].float(), expected.float(), atol=1e-5, rtol=1e-5)


def test_the_reward_function_is_found_as_verl_finds_it(run):
    from verl.utils.import_utils import load_extern_object

    function = load_extern_object(run.settings["reward.custom_reward_function.path"], "compute_score")
    asked = {"data_source": "x", "ground_truth": ["value1"], "extra_info": {"metric": "sub_em"}}
    assert function(solution_str="\\boxed{It is value1.}", **asked) == {"score": 1.0}
