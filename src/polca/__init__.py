"""POLCA: loss change along chosen directions of weight space, token by token, and the skills that it reveals.

The public functions, in the order in which they are used:

- `hessian_basis(token_loss, checkpoints, data, …) → Basis` (Algorithm 1)
- `project(token_loss, checkpoints, basis, data, …) → Projections`
- `decompose(projections, strategy=…, second_order=…) → Trajectories` (eqs. 1–8)
- `cluster(trajectories, …) → Clusters` (§3.3)
- `breakthroughs(trajectories, clusters, …)`, one row a cluster (eqs. 9, 10)

`token_loss(params, batch) → Tensor [sequences, targets]` is all that they need to know of a model, and anything with
`steps()` and `load(step)` serves as checkpoints.
"""

from typing import TYPE_CHECKING, Any

from polca import runtime as _runtime

_runtime.pin_environment()

if TYPE_CHECKING:
    from polca.bases import Basis, hessian_basis
    from polca.breakthrough import breakthroughs
    from polca.checkpoints import CheckpointDirectory, Checkpoints
    from polca.clustering import Clusters, cluster
    from polca.decomposition import Trajectories, decompose
    from polca.errors import PolcaError
    from polca.projections import Projections, project

__all__ = [
    "Basis",
    "CheckpointDirectory",
    "Checkpoints",
    "Clusters",
    "PolcaError",
    "Projections",
    "Trajectories",
    "breakthroughs",
    "cluster",
    "decompose",
    "hessian_basis",
    "project",
]

_MODULES = {
    "Basis": "bases",
    "hessian_basis": "bases",
    "CheckpointDirectory": "checkpoints",
    "Checkpoints": "checkpoints",
    "breakthroughs": "breakthrough",
    "Clusters": "clustering",
    "cluster": "clustering",
    "Trajectories": "decomposition",
    "decompose": "decomposition",
    "PolcaError": "errors",
    "Projections": "projections",
    "project": "projections",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for: a stage then depends only on the modules that it uses."""
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module 'polca' has no attribute {name!r}")
    return getattr(import_module(f"polca.{_MODULES[name]}"), name)
