"""verl's own validation on our configurations, and launching without GPUs."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.training.cluster.conftest import RECIPE

from memagent.cli.train import command
from memagent.errors import InputError, OptionError, SetupError, StoppedError
from memagent.training.cluster import checking
from memagent.training.cluster.configuration import Cluster, ray_settings
from memagent.training.cluster.launching import check_installed, launch, plan, prepare
from memagent.training.recipe import Recipe

RECIPES = Path(__file__).parents[3] / "recipes"


@pytest.mark.parametrize(("name", "nodes"), [("paper-7b", 4), ("paper-14b", 16)])
def test_verl_accepts_the_papers_recipes(name, nodes):
    given = [str(RECIPES / f"{name}.toml"), "--on", "verl", "--nodes", str(nodes), "--gpus", "8", "--dry-run"]
    found = CliRunner().invoke(command, given, standalone_mode=False)
    assert found.exception is None, found.output
    assert "verl 0.9.0 accepts the configuration" in found.stderr
    assert "default_agent_loop: memagent" in found.stdout and "adv_estimator: grpo" in found.stdout


def config_of(name, **changes):
    run = plan(Recipe.read(RECIPES / f"{name}.toml"), Path("runs/x"), Cluster(nodes=4, gpus=8))
    return run, checking.compose({**run.settings, **changes})


def dry_run(*more, recipe=RECIPES / "paper-7b.toml"):
    given = [str(recipe), "--on", "verl", "--dry-run", *more]
    return CliRunner().invoke(command, given, standalone_mode=False)


def test_what_every_rollout_would_fail_at_is_refused_before_anything_costs_money():
    found = dry_run("--set", "reading.chunk_tokens=40000")
    assert isinstance(found.exception, OptionError) and "the model's window has 32,768" in str(found.exception)
    assert isinstance(dry_run("--set", "base.adapter=/nowhere").exception, InputError)


def test_a_dry_run_tells_all_that_is_started_and_what_does_not_fit():
    found = dry_run("--nodes", "2", "--gpus", "4", "--gpu-gb", "24")
    assert "TENSORBOARD_DIR" in found.stdout and "address: auto" in found.stdout
    assert "does not fit while it learns" in found.stderr and "not checked: the base" in found.stderr
    assert "does not fit" not in dry_run("--nodes", "4", "--gpus", "8").stderr


def test_failed_readings_are_not_drawn_again_without_end():
    run, config = config_of("paper-7b")
    assert config.trainer.v1.sampler.sync_refill_failed_groups is False and not run.recipe.rollouts.refills


def test_what_verl_refuses_is_told_in_a_line():
    _, config = config_of("paper-7b", **{"actor_rollout_ref.actor.loss_agg_mode": "median"})
    with pytest.raises(OptionError, match=r"verl 0\.9\.0 does not accept the configuration: .*median"):
        checking.validate(config)


def test_a_setting_that_verl_does_not_have_is_refused():
    with pytest.raises(OptionError, match=r"does not take trainer\.speed"):
        config_of("paper-7b", **{"trainer.speed": "high"})


def test_a_step_has_as_many_updates_as_the_recipe_says():
    run, config = config_of("paper-7b")
    rollout, actor = config.actor_rollout_ref.rollout, config.actor_rollout_ref.actor
    rows = config.data.train_batch_size * rollout.n * 8  # 32K tokens in chunks of 5,000, and the answer
    assert rows / (actor.ppo_mini_batch_size * rollout.n) == run.recipe.rollouts.updates
    assert actor.optim.lr_warmup_steps * run.recipe.rollouts.updates == run.recipe.learner.warmup


def test_everything_is_laid_out_and_nothing_starts_without_gpus(base, tmp_path):
    from tests.training.cluster.test_loop import problem

    from memagent.tasks.jsonl import write

    write(tmp_path / "problems.jsonl", [problem(number) for number in range(1, 6)])
    (tmp_path / "r.toml").write_text(RECIPE.format(base=base, file=tmp_path / "problems.jsonl"))
    folder, said = tmp_path / "run", []
    recipe = Recipe.read(tmp_path / "r.toml")
    run, config = prepare(recipe, folder, Cluster(nodes=1, gpus=2), resume=False, wandb=False, report=said.append)
    assert config.actor_rollout_ref.model.path == str(base)
    assert {path.name for path in folder.iterdir()} >= {"recipe.toml", "verl.yaml", "agent-loop.yaml", "data"}
    assert not run.settings["data.val_files"][0].endswith("validation.parquet")
    assert str(folder / "tensorboard") == config.ray_kwargs.ray_init.runtime_env.env_vars.TENSORBOARD_DIR
    assert "address" not in config.ray_kwargs.ray_init


@pytest.fixture
def planned(tmp_path):
    recipe = Recipe.read(RECIPES / "paper-7b.toml")
    run = plan(recipe, tmp_path, Cluster(nodes=2, gpus=8))
    return run, checking.compose(run.settings, ray_settings(run.cluster, run.places, "auto"))


def launched(monkeypatch, planned, does):
    """`launch`, with what starts Ray and trains replaced."""
    monkeypatch.setattr("verl.trainer.main_ppo.run_ppo", does)
    return launch(*planned)


def test_a_run_over_nodes_joins_their_cluster(monkeypatch, planned):
    told = []

    def trains(config, runner):
        told.append(config.ray_kwargs.ray_init.address)
        raise ConnectionError("no cluster")

    with pytest.raises(SetupError, match="ray start --head"):
        launched(monkeypatch, planned, trains)
    assert told == ["auto"]


@pytest.mark.parametrize(
    ("begun", "error", "message"),
    [
        (True, RuntimeError("first\nout of memory"), "out of memory; go on from its last checkpoint with --resume"),
        (False, ValueError(""), "ValueError; nothing was learnt yet"),
    ],
)
def test_what_stops_a_run_is_told_in_a_line(monkeypatch, planned, begun, error, message):
    if begun:
        planned[0].places.checkpoints.mkdir()
        (planned[0].places.checkpoints / "latest_checkpointed_iteration.txt").write_text("40")

    def trains(config, runner):
        raise error

    with pytest.raises(StoppedError, match=message):
        launched(monkeypatch, planned, trains)


def test_without_vllm_nothing_starts():
    with pytest.raises(SetupError, match="needs vllm"):
        check_installed()
