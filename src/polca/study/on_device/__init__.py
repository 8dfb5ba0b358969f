"""The heavy stages of a task in one process on one GPU, with nothing that waits for the host in their loops.

The same method as in the stages, and the same numbers within rounding; on a CPU as well, where it is tested.
"""
