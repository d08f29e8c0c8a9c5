"""What reading costs, worked out and not measured: tokens, FLOPs, time, memory and money against length.

`architecture` says what a model is, `flops` holds the formulae, `methods` counts the calls of each way to read,
`comparison` puts them side by side, `picture` draws them. Measured costs are `memagent eval`'s business.
"""
