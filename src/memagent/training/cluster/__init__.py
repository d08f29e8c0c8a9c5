"""Training on many machines: verl (Ray, FSDP, vLLM) runs the algorithm, this brings it the reader, data and settings.

`configuration` turns a recipe into verl's settings, `checking` lets verl validate them, `data` writes its Parquet,
`loop` is the agent loop that reads, over `served`, `weights` go both ways, and `launching` does it all. Without verl
installed, `configuration` and `memory` still work.
"""
