"""Multi-Conv DAPO written out in loops over plain numbers, slowly, from the paper's equations and not from our code."""

import math


def advantages(rewards, divide_by_std=False):
    mean = sum(rewards) / len(rewards)
    found = []
    for reward in rewards:
        one = reward - mean
        if divide_by_std:
            variance = 0.0
            for other in rewards:
                variance += (other - mean) ** 2
            one /= math.sqrt(variance / (len(rewards) - 1)) + 1e-6
        found.append(one)
    return found


def token_gain(new, old, advantage, low, high, dual=None, sampler=None, cap=None):
    ratio = math.exp(new - old)
    bounded = min(max(ratio, 1 - low), 1 + high)
    gain = min(ratio * advantage, bounded * advantage)
    if dual is not None and advantage < 0:
        gain = max(gain, dual * advantage)
    if cap is not None:
        gain *= min(cap, math.exp(old - sampler))
    return gain


def token_kl(new, reference):
    difference = reference - new
    return math.exp(difference) - difference - 1


def loss(
    groups, new, old, reference, *, low, high, beta, mode, dual=None, sampler=None, cap=None, std=False, batch=None
):
    """`groups[g][i][c]` is the number of tokens of conversation c of rollout i; `new[g][i][c][t]` and so on are nats.

    `rewards` stand in groups as groups[g] = (rewards, counts). `batch` is (tokens of the rollout batch, updates).
    """
    per_group, tokens_of = [], []
    for g, (rewards, rollouts) in enumerate(groups):
        worth, total, count = advantages(rewards, std), 0.0, 0
        for i, conversations in enumerate(rollouts):
            for c, length in enumerate(conversations):
                for t in range(length):
                    place = g, i, c, t
                    extra = {} if cap is None else {"sampler": at(sampler, place), "cap": cap}
                    gain = token_gain(at(new, place), at(old, place), worth[i], low, high, dual, **extra)
                    total += gain - beta * token_kl(at(new, place), at(reference, place))
                    count += 1
        per_group.append(total)
        tokens_of.append(count)
    if mode == "group":
        return -sum(total / count for total, count in zip(per_group, tokens_of, strict=True)) / len(groups)
    if mode == "batch":
        return -sum(per_group) / sum(tokens_of)
    tokens, updates = batch
    return -sum(per_group) / (tokens / updates)


def at(values, place):
    for index in place:
        values = values[index]
    return values
