"""POLCA: loss change along chosen directions of weight space, token by token, and the skills that it reveals.

The public functions, in the order in which they are used:

- `hessian_basis(token_loss, checkpoints, data, …) → Basis` (Algorithm 1)
- `project(token_loss, checkpoints, basis, data, …) → Projections`
- `decompose(projections, strategy=…, second_order=…) → Trajectories` (eqs. 1–8)
- `cluster(trajectories, …) → Clusters` (§3.3)
- `signatures(trajectories, at=…)`, all vectors at once as one row of numbers a token
- `breakthroughs(trajectories, clusters, …)`, one row a cluster (eqs. 9, 10)

`token_loss(params, batch) → Tensor [sequences, targets]` is all that they need to know of a model (`ModuleLoss` makes
one of a module), and anything with `steps()` and `load(step)` serves as checkpoints. `analyze` does all of it at once.

Importing the package changes nothing in the process: threads, kernels and environment stay as they are. PyTorch is
loaded with the first name that needs it, so that the command line can answer without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from polca.errors import PolcaError
from polca.version import VERSION

if TYPE_CHECKING:
    from polca.external.analysis import Analysis
    from polca.external.analyze import analyze, write_analysis
    from polca.external.modules import ModuleCheckpoints, ModuleLoss
    from polca.external.settings import AnalysisSettings
    from polca.method.bases import Basis, hessian_basis
    from polca.method.breakthrough import breakthroughs
    from polca.method.checkpoints import CheckpointDirectory, Checkpoints
    from polca.method.clustering import Clusters, cluster
    from polca.method.decomposition import Trajectories, decompose
    from polca.method.projections import Projections, project
    from polca.method.signatures import signatures

__version__ = VERSION

__all__ = [
    "Analysis",
    "AnalysisSettings",
    "Basis",
    "CheckpointDirectory",
    "Checkpoints",
    "Clusters",
    "ModuleCheckpoints",
    "ModuleLoss",
    "PolcaError",
    "Projections",
    "Trajectories",
    "analyze",
    "breakthroughs",
    "cluster",
    "decompose",
    "hessian_basis",
    "project",
    "signatures",
    "write_analysis",
]

_MODULES = {
    "external.analysis": ("Analysis",),
    "external.analyze": ("analyze", "write_analysis"),
    "external.modules": ("ModuleCheckpoints", "ModuleLoss"),
    "external.settings": ("AnalysisSettings",),
    "method.bases": ("Basis", "hessian_basis"),
    "method.breakthrough": ("breakthroughs",),
    "method.checkpoints": ("CheckpointDirectory", "Checkpoints"),
    "method.clustering": ("Clusters", "cluster"),
    "method.decomposition": ("Trajectories", "decompose"),
    "method.projections": ("Projections", "project"),
    "method.signatures": ("signatures",),
}
"""Where the names above are that load PyTorch."""

if not TYPE_CHECKING:  # else a name that is not there would pass

    def __getattr__(name: str) -> object:
        """A public name at its first use (PEP 562)."""
        for module, names in _MODULES.items():
            if name in names:
                globals()[name] = value = getattr(import_module(f"{__name__}.{module}"), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
