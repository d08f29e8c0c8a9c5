"""verl's whole configuration: its own defaults with our settings, checked by its own validation.

It needs verl; `installed` tells whether it is there. It does not know recipes.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from memagent.errors import OptionError
from memagent.extras import extra

TRIED = "0.9.0"


def installed() -> bool:
    """Whether verl is there."""
    return importlib.util.find_spec("verl") is not None


def version() -> str:
    """verl's."""
    return importlib.metadata.version("verl")


def compose(settings: Mapping[str, Any], added: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """verl's configuration (an OmegaConf `DictConfig`) with `settings` by their dotted names, and `added` to it what it
    does not name itself.

    Raises:
        OptionError: this verl has no such setting.
        SetupError: verl is not installed.
    """
    with extra("cluster", "a run on verl"):
        import verl
        from hydra import compose as composed
        from hydra import initialize_config_dir
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
    folder = Path(verl.__file__).parent / "trainer" / "config"
    with initialize_config_dir(config_dir=str(folder), version_base=None):
        config = composed("ppo_trainer", overrides=["model_engine=dp"])
    for name, value in settings.items():
        try:
            OmegaConf.update(config, name, value, merge=True)
        except OmegaConfBaseException as error:
            why = str(error).splitlines()[0]
            raise OptionError(f"verl {version()} does not take {name}: {why}; {TRIED} was tried") from error
    for name, value in added.items():
        OmegaConf.update(config, name, value, force_add=True)
    return config


def unchecked(config: Any) -> list[str]:
    """What `validate` cannot see on this machine, a line each."""
    rank, path = config.actor_rollout_ref.model.lora_rank, config.actor_rollout_ref.model.path
    found = [f"not checked: whether vLLM, which is not here, takes LoRA of rank {rank}"] if _without_vllm(rank) else []
    if not Path(str(path)).is_dir():
        found.append(f"not checked: the base {path}, which is not on this machine")
    return found


def _without_vllm(rank: int) -> bool:
    return rank > 0 and importlib.util.find_spec("vllm") is None


def validate(config: Any) -> None:
    """Let verl check the configuration as it does before it starts.

    Raises:
        OptionError: it does not accept it; says why.
    """
    from omegaconf import OmegaConf

    if _without_vllm(config.actor_rollout_ref.model.lora_rank):
        config = OmegaConf.merge(config, {"actor_rollout_ref": {"model": {"lora_rank": 0}}})
    with contextlib.redirect_stdout(io.StringIO()):
        from hydra.errors import InstantiationException
        from verl.trainer.ppo.utils import need_critic, need_reference_policy
        from verl.utils.config import omega_conf_to_dataclass, validate_config

        try:
            validate_config(config, need_reference_policy(config), need_critic(config))
            # The rest is made of its parts when workers start, on machines that cost money.
            for part in ("rollout", "model"):
                if part != "model" or Path(str(config.actor_rollout_ref.model.path)).is_dir():
                    omega_conf_to_dataclass(config.actor_rollout_ref[part])
            omega_conf_to_dataclass(config.algorithm)
        except (AssertionError, ValueError, TypeError, KeyError, InstantiationException) as error:
            why = error.__cause__ or error
            raise OptionError(f"verl {version()} does not accept the configuration: {why}") from error


def as_yaml(config: Any) -> str:
    """The configuration as verl would read it, references resolved."""
    from omegaconf import OmegaConf

    return str(OmegaConf.to_yaml(config, resolve=True))
