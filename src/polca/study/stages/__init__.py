"""The way through, one module a stage: train, basis, project, trajectories, cluster. Functions for any task.

They know tasks and arrays, no paths of a preset: stage scripts read and write, `in_memory` runs them in one process.
"""
