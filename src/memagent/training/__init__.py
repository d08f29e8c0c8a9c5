"""Training: supervised warm start and Multi-Conv DAPO, over readings that the one reader makes.

`experience` says what a rollout is, `advantages` and `objective` hold the algorithm as pure functions, `packing` lets
conversations share their prefix. It does not know servers or pages.
"""
