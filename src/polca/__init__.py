"""POLCA: loss change along chosen directions of weight space, token by token, and the skills that it reveals."""

from polca import runtime as _runtime

_runtime.pin_environment()
