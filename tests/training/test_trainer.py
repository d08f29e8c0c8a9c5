"""Whole runs with a tiny model: they learn, they go on after kills as if nothing had happened, they export."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.models import tiny

from memagent.errors import InputError, JournalError, OptionError, SetupError
from memagent.locks import alone
from memagent.models.adapters import read_adapter
from memagent.models.local import suggested
from memagent.reading import Journal, Settings
from memagent.training.checkpoints import Checkpoints
from memagent.training.learner import LearnerSettings
from memagent.training.log import read_log
from memagent.training.metrics import StepMetrics, ValidationMetrics
from memagent.training.policy import Tuning
from memagent.training.recipe import Base, Output, Reads, Recipe, Rollouts, Source, Validation, WarmStart
from memagent.training.rewards import RewardSettings
from memagent.training.trainer import train

WORDS = "The tin is in the inn. "


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The tiny Llama with a window that holds a turn."""
    folder = tiny.write_folder(tmp_path_factory.mktemp("base") / "tiny", tiny.weights())
    config = {**tiny.CONFIG, "max_position_embeddings": 2048}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    """Short problems of our own format; answers that a model of random weights may hit by chance."""
    path = tmp_path_factory.mktemp("data") / "own.jsonl"
    records = [
        {
            "question": f"Who is {number}?",
            "answers": ["t"],
            "context": f"One is Tin {number}. " + WORDS * (3 + number % 4),
            "facts": [f"One is Tin {number}."],
            "metric": "contains",
        }
        for number in range(24)
    ]
    path.write_text("\n".join(map(json.dumps, records)) + "\n")
    return path


def recipe(base, problems, **changes):
    given = {
        "steps": 4,
        "base": Base(name=str(base)),
        "tuning": Tuning(rank=4, precision="fp32"),
        "reading": Settings(protocol="gated", chunk_tokens=60, memory_tokens=60, answer_tokens=12),
        "data": (Source(task="file", file=str(problems)),),
        "rollouts": Rollouts(problems=2, group=3, updates=2),
        "learner": LearnerSettings(lr=1e-2, warmup=1),
        "reward": RewardSettings(gate=1.0, brevity=0.5),
        "validation": Validation(problems=4, every=2),
        "warm_start": WarmStart(conversations=10),
    }
    return Recipe(**{**given, **changes})


def weights(folder):
    saved = Checkpoints(folder / "checkpoints").newest()
    return saved.steps_done, saved.weights


def figures(folder):
    """All that was logged but for times and speeds."""
    timed = {"seconds", "learner_speed", "sampler_speed"}
    return [
        {name: value for name in one.__dataclass_fields__ if name not in timed for value in [getattr(one, name)]}
        for one in read_log(folder)
    ]


def test_a_card_may_not_tell_what_no_reader_can_do(base, problems, tmp_path):
    output = Output(reads=Reads(gate=3.0))
    with pytest.raises(OptionError, match="--gate"):
        train(recipe(base, problems, output=output), tmp_path / "run")


def test_a_run_that_could_not_begin_leaves_no_folder(base, problems, tmp_path):
    run = recipe(base, problems, steps=1, validation=Validation(problems=0))
    with pytest.raises(SetupError, match="is no adapter"):
        train(replace(run, base=Base(name=str(base), adapter=str(tmp_path / "gone"))), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    train(run, tmp_path / "run")


def test_one_process_at_a_time_works_in_a_folder(base, problems, tmp_path):
    run = recipe(base, problems, steps=1, validation=Validation(problems=0))
    train(run, tmp_path / "run")
    with alone(tmp_path / "run"), pytest.raises(JournalError, match="another process is at work"):
        train(run, tmp_path / "run", resume=True)
    train(run, tmp_path / "run", resume=True)


def test_the_card_tells_the_steps_that_were_taken(base, problems, tmp_path):
    run = recipe(base, problems, steps=2, validation=Validation(problems=0))
    train(run, tmp_path / "run")
    train(replace(run, steps=1), tmp_path / "run", resume=True)
    assert read_adapter(tmp_path / "run" / "adapter").card["trained"]["steps"] == 2


@pytest.mark.parametrize("kind", ["rl", "warm-start"])
def test_a_run_ends_with_all_it_promises(base, problems, tmp_path, kind):
    states = []
    output = Output(reads=Reads(gate=0.8, sift=0.9, reread=True))
    train(recipe(base, problems, kind=kind, output=output), tmp_path / "run", on_state=states.append)
    folder = tmp_path / "run"
    promised = {"recipe.toml", "metrics.jsonl", "curve.png", "checkpoints", "adapter", "tensorboard"}
    assert promised <= {one.name for one in folder.iterdir()}
    steps = [one for one in read_log(folder) if isinstance(one, StepMetrics)]
    found = [one for one in read_log(folder) if isinstance(one, ValidationMetrics)]
    assert [one.step for one in steps] == [0, 1, 2, 3] and [one.step for one in found] == [0, 2, 4]
    assert all(len(one.scores) == 4 for one in found)
    assert (states[-1].steps_done, states[-1].first.step, states[-1].last.step) == (4, 0, 4)
    adapter = read_adapter(folder / "adapter")
    assert adapter.card["chunk_tokens"] == 60 and adapter.card["trained"]["kind"] == kind
    told = suggested(adapter)
    assert (told["gate"], told["sift"], told["reread"]) == (0.8, 0.9, True) and "verbatim" not in told
    if kind == "rl":
        assert all(one.sampled == one.learnt > 0 for one in steps) and any(one.loss != 0 for one in steps)
        journal = Journal(folder / "readings")
        assert len(journal.entries()) == 4 * 3 + 3 * 4  # a group a step, and the problems of three validations
        journal.close()
    else:
        assert steps[-1].loss < steps[0].loss


def test_going_on_is_as_if_there_had_been_no_break(base, problems, tmp_path):
    whole = recipe(base, problems)
    train(whole, tmp_path / "whole")
    train(replace(whole, steps=1), tmp_path / "parts")
    train(replace(whole, steps=3), tmp_path / "parts", resume=True)
    train(whole, tmp_path / "parts", resume=True)
    (steps, ours), (others, theirs) = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert steps == others == 4
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    last = [one for one in figures(tmp_path / "parts") if one["step"] in (0, 1, 2, 3) and "loss" in one]
    assert last == [one for one in figures(tmp_path / "whole") if "loss" in one]


def test_a_run_that_is_killed_goes_on_bit_for_bit(base, problems, tmp_path):
    """Killed with -9 five times at random moments."""
    whole = recipe(base, problems, steps=5)
    train(whole, tmp_path / "whole")
    path = tmp_path / "recipe.toml"
    path.write_text(whole.text())
    code = (
        "import sys; from pathlib import Path; from memagent.training.recipe import Recipe; "
        "from memagent.training.trainer import train; "
        "train(Recipe.read(Path(sys.argv[1])), Path(sys.argv[2]), resume=True)"
    )
    command = [sys.executable, "-c", code, str(path), str(tmp_path / "killed")]
    rng, kills, ended = random.Random(5), 0, False
    while not ended:
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE)
        if kills < 5:
            _until_it_steps(tmp_path / "killed", process)
            time.sleep(rng.random() * 0.8)
            process.send_signal(signal.SIGKILL)
            kills += 1
        errors = process.communicate()[1].decode()
        ended = process.returncode == 0
        assert process.returncode in (0, -signal.SIGKILL), errors
    assert kills == 5
    (steps, ours), (others, theirs) = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert steps == others == 5 and all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert figures(tmp_path / "killed") == figures(tmp_path / "whole")


def _until_it_steps(folder, process):
    """Until the process has claimed the run, so that a kill meets work and not imports."""
    before = _size(folder)
    while process.poll() is None and _size(folder) == before:
        time.sleep(0.02)


def _size(folder):
    log = folder / "metrics.jsonl"
    return log.stat().st_size if log.exists() else -1


def test_dynamic_sampling_draws_again_within_its_bound(base, problems, tmp_path):
    """Rewards that are always equal teach nothing, however often they are drawn."""
    even = recipe(
        base, problems, steps=1, rollouts=Rollouts(problems=2, group=3, updates=1, refills=2),
        reward=RewardSettings(metric="em"), validation=Validation(problems=0),
    )  # fmt: skip
    train(even, tmp_path / "run")
    (step,) = read_log(tmp_path / "run")
    assert (step.dropped_groups, step.learnt, step.tokens, step.loss) == (3 * 2, 0, 0, 0.0)
    assert step.sampled >= 3 * 2 * 3 * 2  # three times two groups of three, of two turns at the least


def test_folders_that_are_another_runs(base, problems, tmp_path):
    whole = recipe(base, problems, steps=1, validation=Validation(problems=0))
    train(whole, tmp_path / "run")
    with pytest.raises(InputError, match="holds a run already: go on with --resume"):
        train(whole, tmp_path / "run")
    with pytest.raises(InputError, match="holds a run with another learner"):
        train(replace(whole, learner=LearnerSettings(lr=1.0)), tmp_path / "run", resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        train(whole, tmp_path / "mine")
    assert [one.name for one in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "tuning",
    [
        Tuning(rank=4, precision="fp32"),
        Tuning(rank=4, precision="fp32", shard=True),
        Tuning(rank=0, precision="fp32", shard=True, checkpoint_activations=True),
    ],
    ids=["replicated", "sharded", "sharded-all-weights"],
)
def test_two_processes_learn_what_one_does(base, problems, tmp_path, tuning):
    """Each samples and learns half; sums in another order differ by rounding (relative 1e-4 here).

    The second step goes on from a checkpoint.
    """
    rollouts, validation = Rollouts(problems=4, group=3, updates=2), Validation(problems=4, every=1)
    whole = recipe(base, problems, steps=2, rollouts=rollouts, tuning=tuning, validation=validation)
    train(whole, tmp_path / "one")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    path = tmp_path / "recipe.toml"
    command = [*torchrun, "-m", "memagent", "train", str(path), "-o", str(tmp_path / "two")]
    for steps, resume in ((1, []), (2, ["--resume"])):
        path.write_text(replace(whole, steps=steps).text())
        done = subprocess.run([*command, *resume], capture_output=True, timeout=240)
        assert done.returncode == 0, done.stderr.decode()
    for one, two in zip(figures(tmp_path / "one"), figures(tmp_path / "two"), strict=True):
        assert one.keys() == two.keys()
        for name, value in one.items():
            # Drift is a sum of small differences without signs: after AdamW's first steps more of their rounding shows.
            relative = 2e-3 if name == "drift" else 1e-4
            assert two[name] == pytest.approx(value, rel=relative, abs=1e-6), name
    (_, ours), (_, theirs) = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, value in ours.items():
        # Of gradients near zero AdamW makes steps of up to lr, whichever way they are rounded: that may be seen in one
        # element of a thousand, and nowhere in more than two steps of lr.
        apart = (theirs[name] - value).abs()
        assert (apart > 1e-3 + 1e-3 * value.abs()).float().mean() <= 1e-3, name
        assert apart.max() <= 2e-2, name
