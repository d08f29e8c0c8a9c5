"""What is said to be needed before the first step is what is needed; what is proposed fits."""

from dataclasses import replace

import pytest
import torch
from tests.models import tiny
from tests.training.conftest import policy

from memagent.errors import SetupError
from memagent.evaluation.cost.architecture import NAMED, of_config
from memagent.reading import Settings
from memagent.training import memory
from memagent.training.forecast import Sizes, architecture_of, sizes_of, step_tokens, widest_tree
from memagent.training.learner import LearnerSettings
from memagent.training.memory import Machine, activations, check_memory, fitting, need, trained_weights
from memagent.training.packing import Layout
from memagent.training.policy import Tuning
from memagent.training.recipe import Base, Recipe, Rollouts, Source

TINY = of_config(tiny.CONFIG, name="tiny")
DATA = (Source(task="vt", tokens=(4096,)),)
SMALL = Sizes(chunk=1024, memory=64, answer=64, thinking=0, memory_last=True)


def layout(width, *, tree):
    """One row of `width` ids; as a tree, the second half belongs to two branches."""
    branches = None
    if tree:
        branches = torch.zeros(1, width, dtype=torch.long)
        branches[:, width // 2 : width * 3 // 4], branches[:, width * 3 // 4 :] = 1, 2
    ids, none = torch.arange(width)[None] % 250, torch.zeros(8)
    return Layout(
        ids=ids, positions=torch.arange(width)[None], branches=branches, places=torch.arange(width - 8, width),
        targets=torch.ones(8, dtype=torch.long), advantages=none, weights=none, sampler=none, rows=(),
    )  # fmt: skip


def kept_for_the_way_back(made, width, *, tree):
    """Bytes of the different tensors that autograd saves in a pass, the weights themselves aside."""
    own = {one.untyped_storage().data_ptr() for one in made.module.parameters()}
    saved, held = {}, []

    def save(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        made.logprobs(layout(width, tree=tree))
    return sum(saved.values())


@pytest.mark.parametrize("tree", [False, True])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("rank", [0, 2])
def test_activations_are_those_that_autograd_keeps(rank, precision, tree):
    """Their growth with the width, as a small model's other parts are not small beside them."""
    tuning = Tuning(rank=rank, alpha=8.0, precision=precision)
    made = policy(rank, precision=precision)
    if rank and precision == "bf16":
        made.model.bfloat16()
        for parameter in made.trained.values():
            parameter.data = parameter.data.float()
    widths = (256, 512)
    kept = [kept_for_the_way_back(made, width, tree=tree) for width in widths]
    told = [activations(TINY, tuning, width, tree=width if tree else None) for width in widths]
    assert told[1] - told[0] == pytest.approx(kept[1] - kept[0], rel=0.12)


def test_checkpointing_keeps_one_block_and_what_runs_between_them():
    deep = replace(TINY, layers=100)
    plain, spared = (
        activations(deep, Tuning(checkpoint_activations=checkpoint), 1000, tree=None) for checkpoint in (False, True)
    )
    logits = activations(deep, Tuning(), 0, tree=None)
    block = (plain - logits) / 100
    assert spared - logits == pytest.approx(block + 100 * 1000 * 2 * tiny.WIDTH)


@pytest.mark.parametrize("changes", [{}, {"targets": ("q_proj", "down_proj")}, {"rank": 0}])
def test_trained_parameters_are_counted_as_they_are(changes):
    tuning = Tuning(**{"rank": 4, **changes})
    made = policy(tuning.rank, targets=tuning.targets)
    norms = 0 if tuning.rank else (2 * tiny.LAYERS + 1) * tiny.WIDTH  # left out, as they are far below a percent
    assert trained_weights(TINY, tuning) == sum(one.numel() for one in made.trained.values()) - norms


def test_states_and_weights_are_counted_in_their_precision():
    recipe = Recipe(data=DATA, tuning=Tuning(rank=0, precision="bf16"))
    found = need(recipe, TINY, SMALL, Machine(room=0))
    assert (found.weights, found.gradients, found.optimizer) == tuple(TINY.weights * size for size in (4, 4, 8))
    half = need(replace(recipe, tuning=Tuning(rank=8)), TINY, SMALL, Machine(room=0))
    trained = trained_weights(TINY, Tuning(rank=8))
    assert (half.weights, half.optimizer) == (2 * TINY.weights + 4 * trained, 8 * trained)
    assert TINY.state_values == 2 * tiny.LAYERS * tiny.KV_HEADS * tiny.WIDTH // tiny.HEADS
    assert half.sampler == 2 * (TINY.weights + 1536 * TINY.state_values)
    assert found.total == sum(found.parts.values()) and found.slack > 0
    assert need(recipe, TINY, SMALL, Machine(room=0, gpu=True)).slack == 0


@pytest.mark.parametrize(
    ("gigabytes", "names"),
    [
        (22.0, ()),
        (7.5, ("learner.most_columns",)),
        (5.5, ("tuning.checkpoint_activations", "learner.most_columns")),
        (3.0, ("tuning.rank", "tuning.checkpoint_activations", "learner.most_columns")),
        (0.5, None),
    ],
)
def test_the_mildest_change_that_fits_is_proposed(gigabytes, names):
    model, machine = NAMED["smollm2-135m"], Machine(room=int(gigabytes * 1e9))
    recipe = Recipe(data=DATA, tuning=Tuning(rank=0), learner=LearnerSettings(most_columns=4096))
    changes = fitting(recipe, model, SMALL, machine)
    assert names == (None if changes is None else tuple(change.partition("=")[0] for change in changes))
    if not names:
        return
    changed = _with(recipe, changes)
    check_memory(changed, model, SMALL, machine)
    with pytest.raises(SetupError) as refused:
        check_memory(recipe, model, SMALL, machine)
    assert all(f"--set {change}" in str(refused.value) for change in changes) and "\n" not in str(refused.value)


def _with(recipe, changes):
    for change in changes:
        path, _, value = change.partition("=")
        table, name = path.split(".")
        found = replace(getattr(recipe, table), **{name: value == "true" or int(value)})
        recipe = replace(recipe, **{table: found})
    return recipe


def test_nothing_fits_a_base_that_is_too_large():
    recipe = Recipe(data=DATA, base=Base(name="Qwen/Qwen2.5-7B-Instruct"))
    assert architecture_of(recipe) is NAMED["qwen2.5-7b"]
    with pytest.raises(
        SetupError, match=r"too little memory: about .* GB are needed and 8\.0 GB are free; take a smal"
    ):
        check_memory(recipe, architecture_of(recipe), SMALL, Machine(room=8 * 10**9))


def test_free_memory_heeds_the_limit_of_a_container(tmp_path, monkeypatch):
    for name, text in (
        ("memory.max", "5000"),
        ("memory.current", "3000"),
        ("memory.stat", "anon 1\ninactive_file 700\n"),
    ):
        (tmp_path / name).write_text(text)
    assert memory._free_of_container(tmp_path) == 2700
    (tmp_path / "memory.max").write_text("max")
    assert memory._free_of_container(tmp_path) > 10**15
    assert memory._free_of_container(tmp_path / "none") > 10**15
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(memory, "_free_of_machine", lambda: 9000)
    monkeypatch.setattr(memory, "_free_of_container", lambda: 7000)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Machine.here() == Machine(room=3500)


def test_tokens_of_a_step_add_up():
    """Two problems of three chunks in groups of four: each turn written out."""
    recipe = Recipe(data=(Source(task="vt", tokens=(300 + 2500,)),), rollouts=Rollouts(problems=2, group=4, updates=1))
    turn, answer = (300 + 1024, 64 + 64), (300, 64 + 64)
    found = step_tokens(recipe, SMALL)
    assert found.plain == 2 * 4 * (3 * sum(turn) + sum(answer))
    assert found.shared == 2 * (3 * (turn[0] + 4 * turn[1]) + answer[0] + 4 * answer[1])
    apart = replace(recipe, learner=LearnerSettings(share=False))
    assert step_tokens(apart, SMALL).shared == found.plain
    assert widest_tree(apart, SMALL) == 300 + 1024 + 2 * 64
    assert widest_tree(recipe, SMALL) == 300 + 1024 + 4 * 2 * 64


def test_the_paper_protocol_shares_only_what_stands_before_the_memory():
    recipe = Recipe(data=DATA, reading=Settings(protocol="paper", chunk_tokens=1024, memory_tokens=64))
    sizes = sizes_of(recipe, NAMED["smollm2-135m"])
    assert not sizes.memory_last and sizes.longest == 300 + 1024 + 2 * 64
    found = step_tokens(recipe, sizes)
    assert found.plain == step_tokens(recipe, replace(sizes, memory_last=True)).plain
    assert 0.8 * found.plain < found.shared < found.plain


def test_lengths_of_a_file_are_not_known():
    assert step_tokens(Recipe(data=(*DATA, Source(task="file", file="x.jsonl"))), SMALL) is None
    warm = Recipe(kind="warm-start", data=(Source(task="file", file="x.jsonl"),))
    assert step_tokens(warm, SMALL).plain == 64 * SMALL.longest


def test_sizes_are_those_that_the_base_suggests():
    found = sizes_of(Recipe(data=DATA), NAMED["smollm2-135m"])
    assert (found.chunk, found.memory, found.memory_last) == (1024, 64, True)
    other = sizes_of(Recipe(data=DATA, base=Base(name="Qwen/Qwen2.5-7B-Instruct")), NAMED["qwen2.5-7b"])
    assert (other.chunk, other.memory, other.answer, other.memory_last) == (5000, 1024, 1024, False)
