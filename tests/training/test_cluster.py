"""What a run on verl would be, where verl is not installed: settings, memory, the dry run, the reward, the data."""

import dataclasses
import importlib.util
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from tests.models import tiny

from memagent.cli.train import command
from memagent.errors import MemagentError, OptionError, SetupError
from memagent.evaluation.cost.architecture import NAMED
from memagent.models.tokenizers import HubTokenizer
from memagent.tasks.jsonl import write
from memagent.tasks.problem import Problem
from memagent.tasks.records import read_records
from memagent.training.cluster import checking
from memagent.training.cluster.configuration import Cluster, check, differences, mini_batch, nested, parallel
from memagent.training.cluster.data import conversations, write_problems
from memagent.training.cluster.launching import plan
from memagent.training.cluster.memory import need_of
from memagent.training.cluster.reward import compute_score
from memagent.training.forecast import sizes_of
from memagent.training.mixture import Mixture
from memagent.training.recipe import Recipe

RECIPES = Path(__file__).parents[2] / "recipes"
without_verl = pytest.mark.skipif(importlib.util.find_spec("verl") is not None, reason="verl is installed here")


def paper(*changes, name="paper-7b"):
    return Recipe.read(RECIPES / f"{name}.toml", changes)


def settings_of(*changes, cluster=None, name="paper-7b"):
    return plan(paper(*changes, name=name), Path("runs/x"), cluster or Cluster(nodes=4, gpus=8)).settings


def dry_run(*given):
    return CliRunner().invoke(command, [*given, "--on", "verl", "--dry-run"], standalone_mode=False)


@without_verl
@pytest.mark.parametrize("name", ["paper-7b", "paper-14b"])
def test_the_dry_run_prints_the_settings_and_says_what_was_not_validated(name):
    found = dry_run(str(RECIPES / f"{name}.toml"), "--nodes", "4")
    assert found.exception is None, found.output
    told = yaml.safe_load(found.stdout)
    assert told["trainer"]["nnodes"] == 4 and told["algorithm"]["adv_estimator"] == "grpo"
    assert "nothing was validated" in found.stderr and "memory of a GPU" in found.stderr


@without_verl
def test_starting_without_verl_names_the_extra(tmp_path):
    with pytest.raises(SetupError, match=r"pip install 'memagent\[cluster\]'"):
        checking.compose({})


def test_settings_say_what_the_recipe_says():
    told = settings_of()
    actor = "actor_rollout_ref.actor."
    assert told["data.train_batch_size"] == 128 and told["actor_rollout_ref.rollout.n"] == 16
    assert told["algorithm.norm_adv_by_std_in_grpo"] is False and told["data.shuffle"] is False
    assert [told[actor + name] for name in ("clip_ratio_low", "clip_ratio_high", "clip_ratio_c")] == [0.2, 0.2, 3]
    assert told[actor + "use_kl_loss"] and told[actor + "kl_loss_coef"] == 0.001
    assert told[actor + "optim.lr"] == 1e-6 and told[actor + "optim.lr_warmup_steps"] == 20
    assert told["trainer.total_training_steps"] == 400 and told["trainer.test_freq"] == 5
    room = told["actor_rollout_ref.rollout.max_model_len"]
    assert room == told["data.max_prompt_length"] + told["data.max_response_length"] > 5000 + 1024 + 1024 + 4000


def test_nothing_is_longer_than_the_models_window():
    told = settings_of("reading.chunk_tokens=30000")
    assert told["actor_rollout_ref.rollout.max_model_len"] == NAMED["qwen2.5-7b"].window == 32768


def test_settings_follow_changes():
    told = settings_of("rollouts.refills=2", "objective.kl=0", "objective.importance_cap=2.0", "validation.problems=0")
    assert told["algorithm.filter_groups.enable"] and told["algorithm.filter_groups.metric"] == "total"
    assert told["actor_rollout_ref.actor.use_kl_loss"] is False and told["trainer.test_freq"] == -1
    assert told["algorithm.rollout_correction.rollout_is_threshold"] == 2.0
    assert told["data.val_files"] == told["data.train_files"]


@pytest.mark.parametrize(
    ("conversations", "gpus", "wanted"), [(8, 32, 64), (8, 1, 64), (2, 128, 16), (8.4, 128, 72), (0.01, 8, 1)]
)
def test_a_mini_batch_counts_conversations_and_fits_all_gpus(conversations, gpus, wanted):
    """The 7B recipe learns 8 problems an update, in groups of 16."""
    found = mini_batch(paper(), conversations, gpus)
    assert found == wanted and found * 16 % gpus == 0


def test_large_rollout_models_are_spread():
    assert parallel(NAMED["qwen2.5-7b"], Cluster()) == 1
    assert parallel(NAMED["qwen2.5-14b"], Cluster()) == 2
    assert parallel(NAMED["qwen2.5-14b"], Cluster(gpus=1)) == 1


def test_memory_falls_with_gpus_and_training_is_offloaded_where_it_is_short():
    recipe = paper()
    model = NAMED["qwen2.5-7b"]
    sizes = sizes_of(recipe, model)
    many, few = (need_of(recipe, model, sizes, gpus=gpus) for gpus in (32, 8))
    # Masters, gradients and both moments, 4 bytes each, are what is spread.
    spread = 4 * 4 * model.weights
    assert few.learning - many.learning == few.state - many.state == pytest.approx(spread / 8 - spread / 32)
    assert few.learning > few.state + 3 * 2 * 16_384 * model.vocabulary
    offload = "actor_rollout_ref.actor.fsdp_config.optimizer_offload"
    assert settings_of(cluster=Cluster(nodes=1, gpus=2))[offload] is True
    assert settings_of(cluster=Cluster(nodes=4, gpus=8))[offload] is False
    assert settings_of(cluster=Cluster(nodes=4, gpus=8, gpu_bytes=24 * 10**9))[offload] is True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('kind="warm-start"', "runs recipes of the kind"),
        ("learner.decay=30", "decay"),
        ('tuning.precision="fp32"', "precision"),
        ("objective.importance_cap=0.5", "importance_cap"),
    ],
)
def test_what_verl_cannot_run_is_refused(change, message):
    with pytest.raises(OptionError, match=message):
        check(paper(change))


def test_differences_are_told():
    assert any('"batch"' in line for line in differences(paper()))
    same = ('advantages.normalisation="batch"', "learner.warmup=0")
    assert differences(paper(*same)) == []
    adapted = ("tuning.rank=8", 'base.adapter="warm"')
    assert len(differences(paper("rollouts.refills=1", 'rollouts.cut_off="mask"', *adapted, *same))) == 3


def test_whole_alone_is_refused():
    found = CliRunner().invoke(command, [str(RECIPES / "paper-7b.toml"), "--whole"], standalone_mode=False)
    assert isinstance(found.exception, MemagentError) and "--on verl" in str(found.exception)


def test_exports_are_refused():
    given = [str(RECIPES / "paper-7b.toml"), "--on", "verl", "--export", "gguf"]
    found = CliRunner().invoke(command, given, standalone_mode=False)
    assert isinstance(found.exception, OptionError) and "--export" in str(found.exception)


@without_verl
def test_starting_without_verl_is_refused_before_anything_is_written(tmp_path):
    given = [str(RECIPES / "paper-7b.toml"), "--on", "verl", "-o", str(tmp_path / "run")]
    found = CliRunner().invoke(command, given, standalone_mode=False)
    assert isinstance(found.exception, SetupError) and "memagent[cluster]" in str(found.exception)
    assert not (tmp_path / "run").exists()


def test_names_with_dots_become_tables():
    assert nested({"a.b": 1, "a.c.d": 2, "e": 3}) == {"a": {"b": 1, "c": {"d": 2}}, "e": 3}


@pytest.mark.parametrize(
    ("reply", "info", "score"),
    [
        ("so \\boxed{Paris}", None, 1.0),
        ("so Paris", None, 0.0),
        ("\\boxed{in Paris}", {"metric": "em"}, 0.0),
        ("\\boxed{in Paris}", {"metric": "contains"}, 1.0),
    ],
)
def test_the_reward_function_scores_answers(reply, info, score):
    assert compute_score("hotpotqa", reply, ["Paris"], info) == {"score": score}
    assert compute_score("hotpotqa", reply, "Paris", info, more=1) == {"score": score}


@pytest.fixture
def filed(tmp_path):
    """A recipe over a file of ten problems, and its tokenizer."""
    told = {"task": "t", "answers": ("x",), "metric": "em"}
    problems = [
        Problem(id=f"p{n}", question=f"Who is {n}?", context="the tin " * 40 + f"{n}.", **told) for n in range(10)
    ]
    write(tmp_path / "problems.jsonl", problems)
    changes = [
        "steps=3", "rollouts.problems=2", "rollouts.updates=1", "validation.problems=2", "validation.every=1",
        f"data=[{{task='file', file='{tmp_path / 'problems.jsonl'}'}}]",
        f"validation.data=[{{task='file', file='{tmp_path / 'problems.jsonl'}'}}]",
    ]  # fmt: skip
    folder = tiny.write_folder(tmp_path / "base", tiny.weights())
    return paper(*changes, f'base.name="{folder}"'), HubTokenizer(folder / "tokenizer.json", name="tiny")


def test_the_file_holds_what_our_trainer_would_draw(filed, tmp_path):
    recipe, tokenizer = filed
    said = []
    train, held_out = tmp_path / "d/train.parquet", tmp_path / "d/validation.parquet"
    write_problems(recipe, tokenizer, train=train, held_out=held_out, report=said.append)
    held = read_records(held_out)
    mixture = Mixture(recipe.data, tokenizer, seed=0, curriculum=recipe.curriculum, batch=2, held_out=held)
    assert [one.id for one in read_records(train)] == [one.id for step in range(3) for one in mixture.draw(step, 2)]
    assert len(held) == 2 and not {one.id for one in held} & {one.id for one in read_records(train)}
    assert any("3 steps" in line for line in said)
    before = train.stat().st_mtime_ns
    write_problems(recipe, tokenizer, train=train, held_out=held_out, report=said.append)
    assert train.stat().st_mtime_ns == before
    longer = dataclasses.replace(recipe, steps=4)
    write_problems(longer, tokenizer, train=train, held_out=held_out, report=said.append)
    assert [one.id for one in read_records(train)] == [one.id for step in range(4) for one in mixture.draw(step, 2)]


def test_conversations_are_the_chunks_and_the_answer(filed):
    recipe, tokenizer = filed
    tokens = tokenizer.count("the tin " * 40 + "1.")
    mixture = Mixture(recipe.data, tokenizer, seed=0, curriculum=recipe.curriculum, batch=2)

    def counted(chunk_tokens):
        reading = dataclasses.replace(recipe.reading, protocol="paper", chunk_tokens=chunk_tokens)
        return conversations(mixture, dataclasses.replace(recipe, reading=reading), tokenizer)

    assert counted(tokens) == 2
    assert counted(-(-tokens // 3)) == 4
