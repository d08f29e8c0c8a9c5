"""A recipe as settings of verl 0.9's V1 trainer. Pure functions; they do not know whether verl is installed.

verl's mini-batches count conversations (rows), not readings: `mini_batch` sizes them so that a step has as many
updates as the recipe says, as far as the number of conversations of a reading is known beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memagent.errors import OptionError
from memagent.evaluation.cost.architecture import Architecture
from memagent.evaluation.progress import FRAME_TOKENS
from memagent.training.cluster.memory import GPU_BYTES, ROLLOUT_SHARE, need_of
from memagent.training.forecast import Sizes
from memagent.training.recipe import Recipe

LOOP = "memagent"  # the agent loop's name in verl's registry
TOTAL = "total"  # the reward's name beside its parts
REWARD = "pkg://memagent.training.cluster.reward"
ASSUMED_TOKENS = 32_768  # of a document of a file that is not there yet; the published training files' length
_STEP = 256  # sizes are rounded up to it
_LONG_PROBLEM = 4096  # tokens that a problem may have beyond the usual, where the model's window allows it


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """`nodes` machines with `gpus` GPUs of `gpu_bytes` each."""

    nodes: int = 1
    gpus: int = 8
    gpu_bytes: int = GPU_BYTES

    @property
    def total(self) -> int:
        """GPUs of all nodes."""
        return self.nodes * self.gpus


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things lie, on a file system that all nodes see. `model` may be a hub id; `adapter` may be empty."""

    model: str
    run: Path
    adapter: str = ""

    @property
    def tensorboard(self) -> Path:
        """Curves."""
        return self.run / "tensorboard"

    @property
    def recipe(self) -> Path:
        """The recipe, every field resolved."""
        return self.run / "recipe.toml"

    @property
    def loop(self) -> Path:
        """verl's list of agent loops, with ours."""
        return self.run / "agent-loop.yaml"

    @property
    def train(self) -> Path:
        """Problems to learn from, in the order of the steps."""
        return self.run / "data" / "train.parquet"

    @property
    def validation(self) -> Path:
        """Problems to validate with."""
        return self.run / "data" / "validation.parquet"

    @property
    def checkpoints(self) -> Path:
        """What verl saves."""
        return self.run / "verl"


def check(recipe: Recipe) -> None:
    """Whether verl can run it.

    Raises:
        OptionError: it is supervised, or asks for what verl's trainer does not have.
    """
    if recipe.kind != "rl":
        raise OptionError('--on verl runs recipes of the kind "rl": start a warm start here, or with torchrun')
    if recipe.learner.decay:
        raise OptionError("[learner] decay: verl's rates are constant or fall by a cosine; set learner.decay=0")
    if recipe.objective.importance_cap is not None and recipe.objective.importance_cap < 1:
        raise OptionError("[objective] importance_cap must be 1 or more for verl")
    if recipe.tuning.precision != "bf16":
        raise OptionError('[tuning] precision must be "bf16" on a cluster')


def check_sizes(model: Architecture, sizes: Sizes) -> None:
    """Whether a turn fits the model's window; else every rollout would fail, on machines that cost money.

    Raises:
        OptionError: it does not.
    """
    least = _turn_tokens(sizes)
    if model.window and least > model.window:
        raise OptionError(
            f"[reading] a chunk of {sizes.chunk:,} tokens, a memory and a reply need {least:,}: the model's window has "
            f"{model.window:,}; use smaller sizes"
        )


def differences(recipe: Recipe) -> list[str]:
    """What such a run does otherwise than ours would, a line each."""
    found = []
    normalisation = recipe.advantages.normalisation
    if normalisation != "batch":
        found.append(f'verl averages the loss over the tokens of a mini-batch ("batch"), not "{normalisation}"')
    if recipe.rollouts.refills:
        found.append("verl draws groups again without a bound, from the problems of later steps, which then come twice")
    if recipe.tuning.rank and recipe.base.adapter and recipe.objective.kl > 0:
        found.append("the reference of verl's penalty is the base without the adapter, not the warm start")
    if recipe.learner.warmup:
        found.append("the first batch is learnt at a rate of 0: verl's warm-up begins there")
    if recipe.rollouts.cut_off == "mask":
        found.append("an answer that was cut off is learnt from all the same: verl reads the reward from its row")
    return found


def settings(
    recipe: Recipe,
    *,
    model: Architecture,
    sizes: Sizes,
    conversations: float,
    cluster: Cluster,
    places: Places,
    wandb: bool = False,
) -> dict[str, Any]:
    """verl's settings by their dotted names; `conversations` is how many a reading has, on average."""
    return {
        **_data(recipe, model, sizes, places),
        **_model(recipe, model, sizes, cluster, places),
        **_actor(recipe, model, sizes, conversations, cluster),
        **_rollouts(recipe, model, sizes, cluster, places),
        **_algorithm(recipe),
        **_trainer(recipe, cluster, places, wandb),
    }


def response_tokens(sizes: Sizes) -> int:
    """At most so many are generated in a conversation."""
    return sizes.thinking + max(sizes.memory, sizes.answer)


def _turn_tokens(sizes: Sizes) -> int:
    return FRAME_TOKENS + sizes.chunk + sizes.memory + response_tokens(sizes)


def window(model: Architecture, sizes: Sizes) -> int:
    """Prompt and response together, in tokens: with room for a long problem, and never beyond the model's window."""
    needed = _turn_tokens(sizes) + _LONG_PROBLEM
    return min(math.ceil(needed / _STEP) * _STEP, model.window or needed)


def mini_batch(recipe: Recipe, conversations: float, gpus: int) -> int:
    """verl's `ppo_mini_batch_size`: rows of an update, in groups of `rollouts.group`; all GPUs get as many."""
    rollouts = recipe.rollouts
    wanted = max(1, round(rollouts.problems / rollouts.updates * conversations))
    even = gpus // math.gcd(gpus, rollouts.group)
    return math.ceil(wanted / even) * even


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`{"a.b": 1}` as `{"a": {"b": 1}}`."""
    whole: dict[str, Any] = {}
    for name, value in flat.items():
        *tables, last = name.split(".")
        table = whole
        for one in tables:
            table = table.setdefault(one, {})
        table[last] = value
    return whole


def ray_settings(cluster: Cluster, places: Places, address: str) -> dict[str, Any]:
    """What Ray is told that verl's configuration does not name: the cluster to join, and where curves are written."""
    joined = {"ray_kwargs.ray_init.address": address} if cluster.nodes > 1 else {}
    return {**joined, "ray_kwargs.ray_init.runtime_env.env_vars.TENSORBOARD_DIR": str(places.tensorboard)}


def agent_loops(places: Places) -> list[dict[str, str]]:
    """What `agent_loop_config_path` names: the loop, and the recipe that it reads by."""
    return [
        {
            "name": LOOP,
            "_target_": "memagent.training.cluster.loop.ReadingLoop",
            "recipe": str(places.recipe),
        }
    ]


def _data(recipe: Recipe, model: Architecture, sizes: Sizes, places: Places) -> dict[str, Any]:
    validated = bool(recipe.validation.problems)
    return {
        "data.train_files": [str(places.train)],
        "data.val_files": [str(places.validation if validated else places.train)],
        "data.val_max_samples": -1 if validated else 1,
        "data.prompt_key": "prompt",
        "data.max_prompt_length": window(model, sizes) - response_tokens(sizes),
        "data.max_response_length": response_tokens(sizes),
        "data.train_batch_size": recipe.rollouts.problems,
        "data.return_raw_chat": True,
        "data.shuffle": False,  # the file has the order of the steps
        "data.seed": recipe.seed,
        "data.filter_overlong_prompts": False,  # the prompt is the question alone
        "reward.custom_reward_function.path": REWARD,
        "reward.custom_reward_function.name": "compute_score",
    }


def _model(recipe: Recipe, model: Architecture, sizes: Sizes, cluster: Cluster, places: Places) -> dict[str, Any]:
    tuning = recipe.tuning
    offload = not need_of(recipe, model, sizes, gpus=cluster.total).fits(cluster.gpu_bytes)
    return {
        "actor_rollout_ref.model.path": places.model,
        "actor_rollout_ref.model.use_remove_padding": True,
        "actor_rollout_ref.model.enable_gradient_checkpointing": tuning.checkpoint_activations,
        "actor_rollout_ref.model.lora_rank": tuning.rank,
        "actor_rollout_ref.model.lora_alpha": tuning.alpha,
        "actor_rollout_ref.model.target_modules": list(tuning.targets),
        "actor_rollout_ref.model.lora_adapter_path": places.adapter or None,
        "actor_rollout_ref.actor.fsdp_config.param_offload": offload,
        "actor_rollout_ref.actor.fsdp_config.optimizer_offload": offload,
        "actor_rollout_ref.ref.fsdp_config.param_offload": True,
    }


def _actor(recipe: Recipe, model: Architecture, sizes: Sizes, conversations: float, cluster: Cluster) -> dict[str, Any]:
    learner, objective, updates = recipe.learner, recipe.objective, recipe.rollouts.updates
    actor = {
        "strategy": "fsdp2",
        "ppo_mini_batch_size": mini_batch(recipe, conversations, cluster.total),
        "ppo_epochs": 1,
        "use_dynamic_bsz": True,
        "ppo_max_token_len_per_gpu": max(learner.most_columns, window(model, sizes)),
        "clip_ratio": objective.clip_low,
        "clip_ratio_low": objective.clip_low,
        "clip_ratio_high": objective.clip_high,
        # It is always on there: so far up it bounds nothing.
        "clip_ratio_c": objective.dual_clip if objective.dual_clip is not None else 1e9,
        "use_kl_loss": objective.kl > 0,
        "kl_loss_coef": objective.kl,
        "kl_loss_type": "low_var_kl",
        "entropy_coeff": 0,
        "loss_agg_mode": "token-mean",
        "optim.lr": learner.lr,
        "optim.lr_warmup_steps": round(learner.warmup / updates),  # its schedule counts batches
        "optim.lr_scheduler_type": "constant",
        "optim.weight_decay": learner.weight_decay,
        "optim.betas": list(learner.betas),
        "optim.clip_grad": learner.clip_norm,
    }
    return {f"actor_rollout_ref.actor.{name}": value for name, value in actor.items()}


def _rollouts(recipe: Recipe, model: Architecture, sizes: Sizes, cluster: Cluster, places: Places) -> dict[str, Any]:
    rollouts = recipe.rollouts
    rollout = {
        "name": "vllm",
        "mode": "async",
        "n": rollouts.group,
        "temperature": rollouts.temperature,
        "top_p": rollouts.top_p,
        "calculate_log_probs": True,
        "enable_prefix_caching": True,
        "max_model_len": window(model, sizes),
        "max_num_batched_tokens": max(8192, window(model, sizes)),
        "gpu_memory_utilization": ROLLOUT_SHARE,
        "tensor_model_parallel_size": parallel(model, cluster),
        "load_format": "safetensors" if recipe.tuning.rank else "dummy",
        "val_kwargs.temperature": 0,
        "val_kwargs.top_p": 1.0,
        "val_kwargs.do_sample": False,
        "agent.num_workers": max(8, cluster.nodes),
        "agent.default_agent_loop": LOOP,
        "agent.agent_loop_config_path": str(places.loop),
    }
    return {f"actor_rollout_ref.rollout.{name}": value for name, value in rollout.items()}


def parallel(model: Architecture, cluster: Cluster) -> int:
    """Over how many GPUs of a node the rollouts' weights are spread: no more than half of vLLM's share is weights."""
    ways = 1
    while 2 * model.weights / ways > ROLLOUT_SHARE * cluster.gpu_bytes / 2 and cluster.gpus % (2 * ways) == 0:
        ways *= 2
    return ways


def _algorithm(recipe: Recipe) -> dict[str, Any]:
    found: dict[str, Any] = {
        "algorithm.adv_estimator": "grpo",
        "algorithm.norm_adv_by_std_in_grpo": recipe.advantages.divide_by_std,
        "algorithm.use_kl_in_reward": False,
        "critic.enable": False,
    }
    if recipe.objective.importance_cap is not None:
        found["algorithm.rollout_correction.rollout_is"] = "token"
        found["algorithm.rollout_correction.rollout_is_threshold"] = recipe.objective.importance_cap
    if recipe.rollouts.refills:
        found["algorithm.filter_groups.enable"] = True
        found["algorithm.filter_groups.metric"] = TOTAL
    return found


def _trainer(recipe: Recipe, cluster: Cluster, places: Places, wandb: bool) -> dict[str, Any]:
    validated = bool(recipe.validation.problems)
    trainer = {
        "use_v1": True,
        "v1.trainer_mode": "sync",
        "nnodes": cluster.nodes,
        "n_gpus_per_node": cluster.gpus,
        "total_training_steps": recipe.steps,
        "total_epochs": recipe.steps,  # the steps end it
        "save_freq": recipe.output.checkpoint,
        "max_actor_ckpt_to_keep": recipe.output.keep,
        "test_freq": recipe.validation.every if validated else -1,
        "val_before_train": validated,
        "logger": ["console", "tensorboard", *(["wandb"] if wandb else [])],
        "project_name": "memagent",
        "experiment_name": places.run.name,
        "default_local_dir": str(places.checkpoints),
        "resume_mode": "auto",
    }
    return {f"trainer.{name}": value for name, value in trainer.items()}
