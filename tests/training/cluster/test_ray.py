"""A Ray cluster of three nodes on one machine: servers of the embedded model on each, and one node that is lost."""

import asyncio
from types import SimpleNamespace

import pytest
from tests.training.cluster.conftest import RECIPE
from tests.training.cluster.test_loop import SAMPLING, loop_of

from memagent.models.sources import locate
from memagent.tasks.official import to_train
from memagent.tasks.problem import Problem
from memagent.training.cluster.configuration import Cluster, agent_loops
from memagent.training.cluster.launching import plan, yaml
from memagent.training.recipe import Recipe

NEEDLE = "One of the special magic numbers for copper-lantern is: 4817362."


def problem(number):
    filler = " ".join(f"The {word} went to the river and came back." for word in ("cat", "dog", "fox", "hen") * 4)
    return Problem(
        id=f"p{number}", task="niah", question="What is the special magic number for copper-lantern?",
        answers=("4817362",), metric="sub_em", context=f"{filler} {NEEDLE} {filler} Day {number}.", facts=(NEEDLE,),
    )  # fmt: skip


@pytest.fixture
def cluster(monkeypatch):
    import ray
    from ray.cluster_utils import Cluster as Simulated

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_DISABLE_METRICS_COLLECTION", "1")
    small = {"num_cpus": 2, "object_store_memory": 100 * 2**20}
    head = {**small, "include_dashboard": False, "resources": {"head": 1}}
    made = Simulated(initialize_head=True, head_node_args=head)
    nodes = [made.add_node(**small, resources={f"node{number}": 1}) for number in (1, 2)]
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield SimpleNamespace(made=made, nodes=nodes)
    ray.shutdown()
    made.shutdown()


def server(resource):
    """An actor with the interface of verl's rollout servers, over the embedded model."""
    import ray

    @ray.remote(num_cpus=0.5, resources={resource: 0.1}, max_restarts=0)
    class Server:
        def __init__(self):
            from memagent.models.engines.base import Engine
            from memagent.models.engines.openvino import OpenVinoBackend
            from memagent.models.gguf_files import GGUF

            source = locate("smollm2-135m")
            self._engine = Engine(OpenVinoBackend(source.gguf, end_ids=GGUF(source.gguf).end_ids, cache_gib=1))
            self._served = 0

        async def generate(self, request_id, prompt_ids, sampling_params, **_):
            from verl.workers.rollout.replica import TokenOutput

            from memagent.models.base import Sampling
            from memagent.models.engines.base import Job

            self._served += 1
            drawn = Sampling(temperature=sampling_params["temperature"], top_p=1.0, seed=self._served)
            job = Job(prompt=tuple(prompt_ids), max_tokens=sampling_params["max_tokens"], sampling=drawn, logprobs=True)
            found = await asyncio.wrap_future(self._engine.submit(job))
            told = {"global_steps": 0}
            return TokenOutput(token_ids=list(found.token_ids), log_probs=list(found.logprobs), extra_fields=told)

        async def served(self):
            return self._served

    return Server.remote()


def test_rollouts_survive_the_loss_of_a_node(cluster, tmp_path):
    import ray
    from omegaconf import OmegaConf
    from verl.workers.rollout.llm_server import GlobalRequestLoadBalancer, LLMServerClient

    servers = {name: server(name) for name in ("head", "node1", "node2")}
    assert ray.get([one.served.remote() for one in servers.values()], timeout=120) == [0, 0, 0]
    balancer = ray.remote(GlobalRequestLoadBalancer).options(num_cpus=0, resources={"head": 0.1}).remote(servers)
    rollout = {"actor_rollout_ref": {"rollout": {"name": "vllm", "full_determinism": False}}}
    client = LLMServerClient(OmegaConf.create(rollout), balancer)

    (tmp_path / "r.toml").write_text(
        RECIPE.format(base="smollm2-135m", file="none").replace("_tokens = 120", "_tokens = 40")
    )
    run = plan(Recipe.read(tmp_path / "r.toml"), tmp_path / "run", Cluster(nodes=3, gpus=1))
    run.places.run.mkdir()
    run.places.recipe.write_text(run.recipe.text())
    run.places.loop.write_text(yaml(agent_loops(run.places)))

    async def one(loop, number):
        return await loop.run(dict(SAMPLING), **to_train(number, problem(number)))

    async def all_of_them():
        loops = [loop_of(run, client, locate("smollm2-135m").folder) for _ in range(6)]
        begun = [asyncio.ensure_future(one(loop, number)) for number, loop in enumerate(loops)]
        while min(await asyncio.gather(*(server.served.remote() for server in servers.values()))) < 1:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(cluster.made.remove_node, cluster.nodes[1], False)
        return await asyncio.gather(*begun)

    rolled = asyncio.run(all_of_them())
    assert len(rolled) == 6 and len({len(outputs) for outputs in rolled}) == 1 < len(rolled[0])
    assert all(outputs[-1].reward_score is not None for outputs in rolled)
    assert all(len(row.response_logprobs) == len(row.response_ids) > 0 for outputs in rolled for row in outputs)
    assert sorted(ray.get(balancer.get_all_servers.remote())) == ["head", "node1"]
