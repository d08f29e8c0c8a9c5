"""The command around a run: what it prints, refuses and ends with. The run itself is a stand-in."""

import json
from dataclasses import replace

import pytest
from rich.console import Console
from tests.models import tiny
from tests.training.records import step, supervised, validation

from memagent.cli.train_view import TrainView
from memagent.errors import StoppedError
from memagent.recipes import toml
from memagent.training import memory, trainer
from memagent.training.log import RunLog
from memagent.training.metrics import ValidationMetrics
from memagent.training.progress import State

RECIPE = """
steps = 3
[[data]]
task = "vt"
tokens = [2048]
[learner]
lr = 1e-5
most_columns = 2048
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(memory.Machine, "here", lambda: memory.Machine(room=10**12))
    (tmp_path / "mine.toml").write_text(RECIPE)
    return tmp_path


@pytest.fixture
def ending():
    return []


@pytest.fixture
def runs(monkeypatch, ending):
    """Stands in for the run: three steps between two validations, and an adapter's folder.

    `ending` holds what it is to end with, if not well.
    """
    seen = []

    def train(recipe, folder, *, resume, on_state, report, wandb):
        seen.append({"recipe": recipe, "folder": folder, "resume": resume, "wandb": wandb})
        report("note: 2 problems were left out")
        first, last = validation(0, right=40, count=128), validation(3, right=60, count=128)
        with RunLog(folder, steps_done=3) as log:
            for record in () if log.records else (first, step(0), step(1), step(2), last):
                log.add(record)
        for number in range(3):
            state = State(steps=3, steps_done=number + 1, now="learning", first=first, last=first, step=step(number))
            on_state(replace(state, seconds_left=200.0))
        on_state(replace(state, last=last))
        (folder / "adapter").mkdir(exist_ok=True)
        for error in ending:
            raise error

    monkeypatch.setattr(trainer, "train", train)
    return seen


def test_a_run_from_its_recipe_to_the_commands_that_use_it(memagent, runs, here):
    done = memagent("train", "mine.toml", "--set", "learner.lr=2e-5")
    assert done.status == 0, done.err
    (run,) = runs
    assert (run["folder"].as_posix(), run["resume"], run["wandb"]) == ("runs/mine", False, False)
    assert run["recipe"].learner.lr == 2e-5 and run["recipe"].learner.most_columns == 2048
    assert "validation rose by +15.6 points [" in done.out and "on 128 problems (95%, paired)" in done.out
    assert "adapter: runs/mine/adapter" in done.out
    assert 'memagent ask FILE -q "…" --adapter runs/mine/adapter' in done.out


def test_another_base_is_named_in_the_commands(memagent, runs, here):
    (here / "a base").mkdir()
    (here / "a base" / "config.json").write_text(json.dumps(tiny.CONFIG))
    small = ("--set", "reading.chunk_tokens=64", "--set", "reading.memory_tokens=32")
    done = memagent("train", "mine.toml", "--set", "base.name=a base", *small)
    assert done.status == 0, done.err
    assert "--model 'local:a base' --adapter runs/mine/adapter" in done.out


def test_elsewhere_than_on_a_terminal_each_step_and_validation_is_a_line(memagent, runs):
    lines = memagent("train", "mine.toml").err.splitlines()
    assert lines[0] == "note: 2 problems were left out"
    assert [line.partition(":")[0] for line in lines[1:]] == [
        "step 1 of 3", "validation after 0 steps", "step 2 of 3", "step 3 of 3", "validation after 3 steps",
    ]  # fmt: skip
    assert "KL 0.0100, clip 0.40%, keeps 80%, false/1M 120, memory 41, sampled/s 1,500" in lines[3]
    assert lines[3].endswith("; about 3 min left") and "31.2% at the start" in lines[5]


def test_going_on(memagent, runs):
    memagent("train", "mine.toml", "-o", "there")
    done = memagent("train", "mine.toml", "-o", "there", "--resume", "--wandb")
    assert done.status == 0 and (runs[1]["resume"], runs[1]["wandb"]) == (True, True)
    assert "adapter: there/adapter" in done.out


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "go on from the last checkpoint: the same command and --resume"),
        (StoppedError("5 updates in a row were not finite"), 3, "5 updates in a row"),
    ],
)
def test_what_stops_half_way_says_how_to_go_on(memagent, runs, ending, error, status, message):
    ending.append(error)
    done = memagent("train", "mine.toml")
    assert done.status == status and message in done.line and done.out == ""


def test_a_dry_run_prints_the_whole_recipe_and_runs_nothing(memagent, runs, here):
    done = memagent("train", "mine.toml", "--dry-run", "--set", "rollouts.group=8", "--set", "tuning.rank=4")
    assert done.status == 0 and not runs and not (here / "runs").exists()
    resolved = toml().loads(done.out)
    assert resolved["rollouts"]["group"] == 8 and resolved["learner"]["betas"] == [0.9, 0.999]
    tokens, trained, room = done.err.splitlines()
    assert "tokens as if nothing were shared" in tokens
    assert trained == "trained: 1,221,120 parameters; smollm2-135m has 134,479,872"
    assert room.startswith("memory: about ") and room.endswith("1,000.0 GB are free")
    (here / "again.toml").write_text(done.out)
    assert memagent("train", "again.toml", "--dry-run").out == done.out


def test_a_dry_run_names_the_files_that_a_run_would_miss(memagent, here):
    (here / "mine.jsonl").write_text("")
    first = "{task='hotpotqa', tokens=[2048], file='mine.jsonl', paragraphs='far/more.jsonl'}"
    second = "{task='niah_single_2', tokens=[2048], haystack='novel.txt'}"
    third = "{task='niah_single_3', tokens=[2048], haystack='train'}, {task='file', file='hub:someone/something'}"
    done = memagent("train", "mine.toml", "--dry-run", "--set", f"data=[{first}, {second}, {third}]")
    missing = [line for line in done.err.splitlines() if line.startswith("data: ")]
    assert done.status == 0
    assert missing == [
        f"data: there is no file {name} here, which a run needs" for name in ("far/more.jsonl", "novel.txt")
    ]


@pytest.mark.parametrize(
    "changes",
    [
        ["--set", "data=[{task='niah_single_2', tokens=[2048], haystack='novels'}]"],
        ["--set", "validation.problems=0", "--set", "validation.data=[{task='file', file='gone.jsonl'}]"],
    ],
)
def test_a_folder_of_texts_and_data_that_is_not_used_are_no_missing_files(memagent, runs, here, changes):
    (here / "novels").mkdir()
    assert memagent("train", "mine.toml", *changes).status == 0 and len(runs) == 1


def test_too_little_memory_is_said_before_the_first_step(memagent, runs, monkeypatch):
    monkeypatch.setattr(memory.Machine, "here", lambda: memory.Machine(room=3 * 10**9))
    for more in ([], ["--dry-run"]):
        done = memagent("train", "mine.toml", *more)
        assert done.status == 2 and not runs
        assert "3.0 GB are free; it fits with --set tuning.checkpoint_activations=true" in done.line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["mine.toml", "--on", "verl", "--nodes", "4", "--gpus", "8"],
            "a run on verl needs verl, which is not installed",
        ),
        (["mine.toml", "--on", "slurm"], "'slurm' is not 'verl'"),
        (["none.toml"], "none.toml cannot be read: No such file"),
        (["odd.toml"], "odd.toml is no TOML"),
        (["mine.toml", "--set", "learner.rate=1"], "there is no field learner.rate"),
        (["mine.toml", "--set", "steps=many"], "steps: Input should be a valid integer"),
        (["mine.toml", "--set", "steps=0"], "steps must be at least 1, not 0"),
        (["mine.toml", "--set", "learner.lr"], "write KEY=VALUE"),
        (["mine.toml", "--set", "learner.lr=nan"], "lr must be above 0, not nan"),
        (["mine.toml", "--set", "learner.betas=[0.9, 1.5]"], "betas must be two shares below 1"),
        (["mine.toml", "--set", "learner.weight_decay=nan"], "weight_decay must be 0 or more"),
        (["mine.toml", "--set", "objective.kl=-1"], "kl must be 0 or more, not -1"),
        (["mine.toml", "--set", "objective.dual_clip=0.5"], "dual_clip must be 1 or more"),
        (["mine.toml", "--set", "objective.importance_cap=0"], "importance_cap must be above 0"),
        (["mine.toml", "--set", f"seed={10**22}"], "seed must be a number from 0"),
        (["mine.toml", "--set", "data=[{task='vt', tokens=[900], weight=inf}]"], "weight must be above 0, not inf"),
        (["mine.toml", "--set", "reading.chunk_tokens=0"], "chunk-tokens must be at least 1"),
        (["mine.toml", "--set", "base.name=no-such-base"], "there is no model no-such-base"),
        (["mine.toml", "--set", "data=[{task='vt', tokens=[900], metric='exact'}]"], "there is no metric exact"),
        (["mine.toml", "--set", "validation.data=[{task='qa'}]", "--dry-run"], "there is no task qa to learn from"),
        (["mine.toml", "--set", "data=[{task='file', file='gone.jsonl'}]"], "there is no file gone.jsonl, which"),
        (["mine.toml", "--export", "onnx"], "--export onnx: take adapter, merged, gguf"),
        (["mine.toml", "--export", "adapter", "--set", "tuning.rank=0"], "all weights are trained"),
    ],
)
def test_bad_input_is_one_line(memagent, runs, here, options, message):
    (here / "odd.toml").write_text("steps = [")
    done = memagent("train", *options)
    assert done.status == 2 and message in done.line and not runs


def test_weights_that_were_all_trained_are_used_with_how_they_learnt_to_read(memagent, runs, here):
    card = {"protocol": "gated", "chunk_tokens": 512, "memory_tokens": 32, "read_ahead": 4}
    (here / "run of mine" / "merged").mkdir(parents=True)
    (here / "run of mine" / "merged" / "memagent.json").write_text(json.dumps(card))
    done = memagent("train", "mine.toml", "-o", "run of mine", "--set", "tuning.rank=0")
    options = "--protocol gated --chunk-tokens 512 --memory-tokens 32 --read-ahead 4"
    assert f"--model 'local:run of mine/merged' {options}" in done.out


def test_of_several_processes_one_speaks(memagent, runs, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    done = memagent("train", "mine.toml")
    assert (done.status, done.out, done.err) == (0, "", "") and len(runs) == 1


def test_on_a_terminal_the_last_steps_are_a_table():
    console = Console(force_terminal=True, width=80, record=True, color_system=None)
    view = TrainView(console)
    for number in range(12):
        view.show(State(steps=40, steps_done=number + 1, now="sampling", share=0.25, step=step(number)))
    last = validation(12, right=5)
    assert isinstance(last, ValidationMetrics)
    view.show(State(steps=40, steps_done=12, now="learning", step=step(11), first=validation(0), last=last))
    console.print(view._render())
    lines = console.export_text().splitlines()
    assert lines[0].split() == [
        "step", "reward", "spread", "KL", "clip", "keeps", "false/1M", "memory", "sampled/s", "learnt/s", "took",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[1:9]] == [str(number) for number in range(5, 13)]
    assert lines[9] == "validation after 12 steps: 50.0% [23.7, 76.3], keeps 90%; 30.0% at the start"
    assert lines[-1] == "learning; 12 of 40 steps done" and max(map(len, lines)) <= 80


def test_a_warm_start_shows_its_loss_and_what_was_skipped(capfd):
    view = TrainView(Console(stderr=True))
    view.show(State(steps=9, steps_done=1, step=supervised(0, skipped=1)))
    assert capfd.readouterr().err.startswith(
        "step 1 of 9: loss 2.0000, gradient 1.000, learnt/s 1,000, took 3.0 s, skip"
    )
