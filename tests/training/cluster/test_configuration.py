"""verl's own validation on our configurations, and launching without GPUs."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.training.cluster.conftest import RECIPE

from memagent.cli.train import command
from memagent.errors import OptionError, SetupError
from memagent.training.cluster import checking
from memagent.training.cluster.configuration import Cluster
from memagent.training.cluster.launching import launch, plan, prepare
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
    assert not run.settings["data.val_files"][0].endswith("validation.parquet") and not run.assumed
    with pytest.raises(SetupError, match="needs vllm"):
        launch(run, config)
