"""Rollouts by verl's servers: an engine that passes jobs on to them, and a reading's calls as verl's rows.

A server whose node is lost is struck off, and its calls go to another. It does not know readers or rewards.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

from ray.exceptions import ActorDiedError, RayActorError, RayError

from memagent.errors import StoppedError
from memagent.models.base import Completion
from memagent.models.engines.base import Job, Output
from memagent.training.cluster.configuration import TOTAL

if TYPE_CHECKING:
    from verl.experimental.agent_loop.agent_loop import AgentLoopOutput


TRIES = 10  # of a call that servers fail; one that is lost costs one
PAUSE = 0.5  # seconds before a server that may come back is asked again


class Servers(Protocol):
    """As much of verl's `LLMServerClient` as is used; `generate` answers with its `TokenOutput`."""

    async def generate(self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]) -> Any:
        """One completion of token ids."""
        ...


class ServedEngine:
    """Runs jobs on `servers`; see `memagent.models.engines.base.Submits`.

    One reading's calls carry one request id, so that one server's prefix cache serves them all. `sampling` is what verl
    asks for besides temperature and length. Seeds are not passed on. `versions` collects which steps' weights answered.
    """

    def __init__(self, servers: Servers, sampling: Mapping[str, Any]) -> None:
        self.versions: list[int] = []
        self._servers = servers
        self._sampling = dict(sampling)
        self._request = uuid.uuid4().hex

    def submit(self, job: Job) -> Future[Output]:
        """See `Submits.submit`; called within the event loop that the servers are reached from."""
        return asyncio.run_coroutine_threadsafe(self._run(job), asyncio.get_running_loop())

    def close(self) -> None:
        """The servers are another's."""

    async def _run(self, job: Job) -> Output:
        failed: RayActorError | None = None
        for _ in range(TRIES):
            try:
                found = await self._servers.generate(
                    self._request, prompt_ids=list(job.prompt), sampling_params=self._params(job)
                )
                return self._output(job, found)
            except RayActorError as error:
                failed = error
                await self._recover(error)
        raise StoppedError(f"the rollout servers failed a call {TRIES} times: {failed}")

    async def _recover(self, error: RayActorError) -> None:
        """After a failure: without the server, where it is gone for good; else after a moment."""
        if not isinstance(error, ActorDiedError) or error.actor_id is None:
            await asyncio.sleep(PAUSE)
            return
        try:
            left = await strike_off(self._servers, self._request, error.actor_id)
        except RayError:  # the balancer's own complaint: it has no server to name
            left = False
        if not left:
            raise StoppedError("no rollout server is left") from error

    def _params(self, job: Job) -> dict[str, Any]:
        own = {"temperature": job.sampling.temperature, "top_p": job.sampling.top_p, "max_tokens": job.max_tokens}
        return {**self._sampling, **own, "logprobs": True}

    def _output(self, job: Job, found: Any) -> Output:
        if found.stop_reason == "aborted":
            raise StoppedError("a rollout server gave a call up: its reading cannot be learnt from")
        self.versions += [
            version for name in ("min_global_steps", "max_global_steps")
            if (version := found.extra_fields.get(name)) is not None
        ]  # fmt: skip
        # Servers do not know of `stop_after`: what came behind it was never said.
        alone = job.stop_after is not None and list(found.token_ids[:1]) == [job.stop_after]
        count = 1 if alone else len(found.token_ids)
        return Output(
            token_ids=tuple(found.token_ids[:count]),
            logprobs=None if found.log_probs is None else tuple(found.log_probs[:count]),
            finish="length" if count >= job.max_tokens > 1 and not alone else "stop",
        )


async def strike_off(servers: Any, request: str, lost: str) -> bool:
    """Take the server that is the lost actor off the list; whether another is left.

    verl 0.9 keeps a server whose node died, and as nothing is under way there it would be asked first. The balancer has
    no way to tell which one is dead, but hands the one that a request is bound to out again.
    """
    balancer = getattr(servers, "_load_balancer", None)
    if balancer is None:
        return False
    name, handle = await balancer.acquire_server.remote(request_id=request)
    await balancer.release_server.remote(server_id=name)
    if handle._actor_id.hex() == lost:
        await balancer.remove_servers.remote([name])
    return bool(await balancer.get_all_servers.remote())


def rows(
    calls: Sequence[Completion], parts: Mapping[str, float], *, versions: Sequence[int], seconds: float, mask: bool
) -> list[AgentLoopOutput]:
    """A reading's calls as verl's outputs, one each, in order; the last bears the reward.

    With `mask`, turns that reached their limit are not learnt from, but for the answer: its row is where verl reads
    the advantage. `versions` are the steps whose weights sampled; `seconds` the reading took.

    Raises:
        ValueError: a call without ids.
    """
    from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput

    metrics = AgentLoopMetrics(generate_sequences=seconds)
    first, last = (min(versions), max(versions)) if versions else (None, None)
    found = []
    for number, call in enumerate(calls):
        if call.prompt_ids is None or not call.token_ids:
            raise ValueError("the servers told no ids: such a call cannot be learnt from")
        learnt = not mask or call.finish != "length" or number == len(calls) - 1
        found.append(
            AgentLoopOutput(
                prompt_ids=list(call.prompt_ids),
                response_ids=list(call.token_ids),
                response_mask=[int(learnt)] * len(call.token_ids),
                response_logprobs=None if call.logprobs is None else list(call.logprobs),
                num_turns=len(calls),
                metrics=metrics,
                extra_fields={"min_global_steps": first, "max_global_steps": last},
            )
        )
    total = sum(parts.values())
    found[-1].reward_score = total
    found[-1].extra_fields["reward_extra_info"] = {**parts, TOTAL: total}
    return found
