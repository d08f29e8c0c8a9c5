"""Checkpoints come back bit for bit, and survive kills, full disks and damage."""

import contextlib
import errno
import itertools
import json
import multiprocessing
import os
import random
import time

import pytest
import torch
from safetensors import safe_open
from tests.training.conftest import group, policy

from memagent.errors import InputError, OptionError, StoppedError
from memagent.training.advantages import Totals, rows, token_weights
from memagent.training.checkpoints import Checkpoints, Saved
from memagent.training.learner import Learner, LearnerSettings
from memagent.training.objective import Objective


def learner(rank=4, **changes):
    return Learner(policy(rank), LearnerSettings(**{"lr": 1e-2, "warmup": 4, **changes}))


def step(found, number, reference):
    """The updates of a step: its data is a function of its number."""
    one = group(number, rollouts=2, chunks=1)
    totals = Totals(groups=1, tokens=one.tokens, batch_tokens=one.tokens)
    prepared = found.prepare(rows([one], token_weights([one.tokens], "group", totals)))
    found.score(prepared, reference, old=True)
    return found.reinforce(prepared, Objective(kl=0.01))


def small(steps_done, **changes):
    """A checkpoint whose contents follow from its step."""
    generator = torch.Generator().manual_seed(steps_done)
    weights = {name: torch.randn(size, generator=generator) for name, size in (("a", (40, 30)), ("b", (7,)))}
    optimizer = {"state": {0: {"step": torch.tensor(float(steps_done)), "exp_avg": weights["a"] * 0.1}}}
    return Saved(**{"steps_done": steps_done, "weights": weights, "optimizer": optimizer, **changes})


def same(one, other):
    """Whether two trees are equal in types, order of keys, and every bit of their tensors."""
    if isinstance(one, torch.Tensor):
        return (one.dtype, one.shape) == (other.dtype, other.shape) and torch.equal(bits(one), bits(other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or one != one)


def bits(tensor):
    return tensor.reshape(-1).contiguous().view(torch.uint8)


def is_small(saved):
    made = small(saved.steps_done)
    return same(saved.weights, made.weights) and same(saved.optimizer, made.optimizer)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny matrices are multiplied faster so, the more where other programs run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("rank", "part_bytes"), [(4, None), (0, 4096)])
def test_going_on_from_a_checkpoint_repeats_the_run_bit_for_bit(tmp_path, rank, part_bytes):
    straight = learner(rank)
    reference = straight.policy.snapshot()
    told = [step(straight, number, reference) for number in range(6)]

    stopped = learner(rank)
    for number in range(3):
        step(stopped, number, reference)
    saved = Saved.of(stopped, steps_done=3, reference=reference)
    Checkpoints(tmp_path, part_bytes=part_bytes).save(saved)

    resumed = learner(rank)
    with torch.no_grad():
        for parameter in resumed.policy.trained.values():
            parameter.add_(1.0)
    found = Checkpoints(tmp_path).newest()
    found.restore(resumed)
    again = [step(resumed, number, found.reference) for number in range(found.steps_done, 6)]
    assert again == told[3:] and (resumed.steps, resumed.skipped) == (6, 0)
    assert same(resumed.policy.snapshot(), straight.policy.snapshot())
    assert same(resumed.optimizer.state_dict(), straight.optimizer.state_dict())
    # Going on does not change what was read.
    assert same(found.weights, stopped.policy.snapshot()) and same(found.optimizer, stopped.optimizer.state_dict())


def test_trees_and_odd_values_come_back_as_they_were(tmp_path):
    optimizer = {
        "state": {0: {"step": torch.tensor(3.0), "half": torch.randn(5).to(torch.bfloat16)}, 1: {}},
        "param_groups": [{"betas": (0.9, 0.1 + 0.2), "foreach": None, "amsgrad": False, "params": [0, 1]}],
        "empty": torch.zeros(0, 3),
        "whole": torch.arange(-3, 3),
        "nan": torch.tensor([float("nan"), -0.0, float("inf")]),
    }
    counters = {"updates": 2**60 + 1, "rate": 1e-300, "worst": float("-inf"), "nothing": float("nan")}
    Checkpoints(tmp_path).save(small(1, optimizer=optimizer, counters=counters))
    found = Checkpoints(tmp_path).newest()
    assert same(found.optimizer, optimizer) and same(found.counters, counters) and found.reference is None


def test_what_no_file_can_hold_is_said(tmp_path):
    with pytest.raises(TypeError, match="state/0 is a set"):
        Checkpoints(tmp_path).save(small(1, optimizer={"state": [{1, 2}]}))
    assert names(tmp_path) == []


def test_random_generators_go_on(tmp_path):
    made = learner()
    Checkpoints(tmp_path).save(Saved.of(made, steps_done=1))
    drawn = [random.random(), float(torch.rand(()))]
    Checkpoints(tmp_path).newest().restore(made)
    assert [random.random(), float(torch.rand(()))] == drawn


def test_parts_are_no_larger_than_asked_and_hold_large_tensors_too(tmp_path):
    weights = {"large": torch.randn(300, 41), **{f"layer.{i}.weight": torch.randn(i, 9) for i in range(1, 60)}}
    folder = Checkpoints(tmp_path, part_bytes=8192).save(small(1, weights=weights))
    parts = sorted(folder.glob("weights-*.safetensors"))
    assert len(parts) > 6 and all(path.stat().st_size <= 8192 for path in parts)
    stored = 0
    for path in parts:
        with safe_open(str(path), "pt") as opened:
            stored += sum(opened.get_tensor(name).numel() for name in opened.keys())  # noqa: SIM118
    assert stored == sum(tensor.numel() for tensor in weights.values())
    assert same(Checkpoints(tmp_path).newest().weights, weights)


def test_the_newest_and_the_best_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for number in range(1, 7):
        checkpoints.save(small(number))
        if number in (2, 3):
            checkpoints.mark_best(number, score=number / 10)
    assert names(tmp_path) == ["best.json", "step-000003", "step-000005", "step-000006"]
    again = Checkpoints(tmp_path)
    assert (again.newest().steps_done, again.best().steps_done, again.best_mark.score) == (6, 3, 0.3)
    assert is_small(again.best())


def test_a_new_run_has_nothing(tmp_path):
    checkpoints = Checkpoints(tmp_path / "none")
    assert checkpoints.newest() is checkpoints.best() is checkpoints.best_mark is None
    with pytest.raises(ValueError, match="no checkpoint of step 3"):
        checkpoints.mark_best(3, 1.0)


def test_the_same_step_is_replaced(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for counters in ({"round": 1}, {"round": 2}):
        checkpoints.save(small(4, counters=counters))
    assert checkpoints.newest().counters == {"round": 2} and names(tmp_path) == ["step-000004"]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


DAMAGE = {
    "a bit": lambda folder: flip(next(folder.glob("optimizer-*"))),
    "half a file": lambda folder: os.truncate(next(folder.glob("weights-*")), 100),
    "a missing part": lambda folder: next(folder.glob("weights-*")).unlink(),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "torn manifest": lambda folder: os.truncate(folder / "manifest.json", 40),
    "a list": lambda folder: (folder / "manifest.json").write_text("[]"),
    "another state": lambda folder: flip(folder / "state.json"),
    "another step": lambda folder: (folder / "manifest.json").write_text(
        json.dumps({**json.loads((folder / "manifest.json").read_text()), "steps_done": 7})
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_used(tmp_path, damage):
    lines = []
    checkpoints = Checkpoints(tmp_path, keep=1, part_bytes=4096, report=lines.append)
    checkpoints.save(small(2))
    checkpoints.mark_best(2, 0.5)
    checkpoints.save(small(3))
    DAMAGE[damage](tmp_path / "step-000003")
    found = checkpoints.newest()
    assert found.steps_done == 2 and is_small(found)
    assert len(lines) == 1 and "step-000003 is damaged" in lines[0] and "\n" not in lines[0]
    checkpoints.save(small(3))
    assert is_small(checkpoints.newest()) and checkpoints.newest().steps_done == 3 and len(lines) == 1


def test_damaged_checkpoints_do_not_push_out_the_one_gone_on_from(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for number in (10, 20, 30):
        checkpoints.save(small(number))
    (tmp_path / "step-000030" / "manifest.json").unlink()
    assert checkpoints.newest().steps_done == 20
    checkpoints.save(small(21))
    assert names(tmp_path) == ["step-000020", "step-000021"]


def test_a_damaged_best_is_best_no_more(tmp_path):
    lines = []
    checkpoints = Checkpoints(tmp_path, report=lines.append)
    for number in (1, 2):
        checkpoints.save(small(number))
    checkpoints.mark_best(2, 0.9)
    flip(next((tmp_path / "step-000002").glob("weights-*")))
    assert checkpoints.newest().steps_done == 1 and checkpoints.best_mark is None
    checkpoints.mark_best(1, 0.4)
    flip(next((tmp_path / "step-000001").glob("weights-*")))
    assert checkpoints.best() is None is checkpoints.best_mark and len(lines) == 2
    (tmp_path / "best.json").write_text("{")
    assert checkpoints.best_mark is None and "best.json is damaged" in lines[-1]


def test_when_all_are_damaged_that_is_one_line(tmp_path):
    Checkpoints(tmp_path).save(small(1))
    flip(tmp_path / "step-000001" / "manifest.json")
    with pytest.raises(InputError, match=r"every checkpoint in .* is damaged") as caught:
        Checkpoints(tmp_path).newest()
    assert "\n" not in str(caught.value)


def test_a_disk_that_is_full_at_any_moment_costs_nothing(tmp_path, monkeypatch):
    """The n-th flush fails, for every n there is."""
    checkpoints, flush, left = Checkpoints(tmp_path, keep=1), os.fsync, 0

    def full(opened):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(opened)

    checkpoints.save(small(1))
    failures = 0
    for moment in range(100):
        left = moment
        monkeypatch.setattr(os, "fsync", full)
        try:
            checkpoints.save(small(2))
        except StoppedError as error:
            failures += 1
            assert "step-000002: No space left on device; what was saved before" in str(error)
        else:
            break
        finally:
            monkeypatch.setattr(os, "fsync", flush)
        assert [name for name in names(tmp_path) if not name.startswith("step-")] == []
        assert is_small(checkpoints.newest())
        assert (tmp_path / "step-000001").is_dir()
    assert failures > 5 and names(tmp_path) == ["step-000002"]


def test_a_full_disk_while_the_best_is_marked_keeps_the_one_before(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    for number in (1, 2):
        checkpoints.save(small(number))
    checkpoints.mark_best(1, 0.1)

    def full(opened):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoppedError, match=r"best\.json: No space left"):
        checkpoints.mark_best(2, 0.2)
    assert checkpoints.best_mark.steps_done == 1
    assert names(tmp_path) == ["best.json", "step-000001", "step-000002"]


def test_the_real_writer_reports_a_real_limit(tmp_path):
    """Not a pretended error: the system refuses to let files grow."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(small(1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        with pytest.raises(StoppedError, match=r"cannot write .*File too large"):
            checkpoints.save(small(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == ["step-000001"] and is_small(checkpoints.newest())


def keep_saving(folder, told):
    """Save and replace checkpoints until killed, telling which are safe."""
    torch.set_num_threads(1)
    checkpoints = Checkpoints(folder, keep=1, part_bytes=4096)
    found = checkpoints.newest()
    for number in itertools.count(found.steps_done + 1 if found else 0):
        for _ in range(2):
            checkpoints.save(small(number))
            told.send_bytes(str(number).encode())


def test_kills_at_random_moments_leave_the_newest_that_was_told(tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.test_checkpoints"])
    draw, newest, interrupted, lines = random.Random(3), 0, 0, []
    for _ in range(20):
        reading, writing = context.Pipe(duplex=False)
        writer = context.Process(target=keep_saving, args=(tmp_path, writing))
        writer.start()
        writing.close()
        told = [int(reading.recv_bytes())]
        time.sleep(draw.uniform(0.0, 0.06))
        writer.kill()
        writer.join()
        told += rest(reading)
        interrupted += any(name.startswith(".") for name in names(tmp_path))
        found = Checkpoints(tmp_path, report=lines.append).newest()
        assert found.steps_done - max(newest, *told, 0) in (0, 1) and is_small(found)
        newest = found.steps_done
    assert newest >= 19 and interrupted > 5 and lines == []


def rest(reading):
    """What a dead process has still told."""
    found = []
    with reading, contextlib.suppress(EOFError):
        while True:
            found.append(int(reading.recv_bytes()))
    return found


def test_a_kill_between_the_renames_of_a_replacement_loses_nothing(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(small(5)).rename(tmp_path / ".aside-step-000005")
    assert checkpoints.newest().steps_done == 5 and names(tmp_path) == ["step-000005"]


def test_another_model_is_refused(tmp_path):
    Checkpoints(tmp_path).save(Saved.of(learner(rank=4), steps_done=2))
    with pytest.raises(InputError, match="checkpoint of step 2 is of another model"):
        Checkpoints(tmp_path).newest().restore(learner(rank=2))


def test_settings_that_make_no_sense(tmp_path):
    with pytest.raises(OptionError, match="at least 4096"):
        Checkpoints(tmp_path, part_bytes=100)
    with pytest.raises(OptionError, match="at least one"):
        Checkpoints(tmp_path, keep=0)
