"""Curvature on a coarse grid: what the full computation gives there, whether computed or thinned."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from polca.errors import PolcaError
from polca.method.bases import Basis
from polca.method.checkpoints import CheckpointDirectory
from polca.method.projections import Projections, thin
from polca.study.paths import PresetPaths
from polca.study.settings import Preset
from polca.validity.curvature import coarse_curvature
from polca.validity.paths import ValidityPaths
from polca.validity.settings import CurvatureSettings
from tiny_preset import Stage, make_preset, remove_outputs, run_stage

CHAIN = ("data", "train", "basis", "project")


def written(params: Path, points: int | None) -> Projections:
    """Projections on the Hessian's vectors by the stage, with curvature at so many points."""
    values = yaml.safe_load(params.read_text(encoding="utf-8"))
    values["arithmetic"]["polca"]["curvature_points"] = points
    params.write_text(yaml.safe_dump(values), encoding="utf-8")
    project = Stage("project", "arithmetic")
    remove_outputs(project, params.parents[2])
    assert run_stage(project, params).code == 0
    return Projections.load(PresetPaths.of(params).task("arithmetic").projection("hessian"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Projections]:
    """The tiny preset up to its projections, and these with curvature at all of its five points."""
    params = make_preset(tmp_path_factory.mktemp("curvature"))
    for script in CHAIN:
        assert run_stage(Stage(script, "arithmetic"), params).code == 0
    return params, written(params, None)


@pytest.mark.parametrize("points", [2, None])
def test_stage(made: tuple[Path, Projections], points: int | None) -> None:
    """Computed where the run has too little, thinned where it has all: the same."""
    params, whole = made
    own = written(params, points)
    assert own.token_curvatures is not None
    assert whole.token_curvatures is not None
    assert len(own.token_curvatures) == (points or 5)
    np.testing.assert_array_equal(own.token_curvatures, whole.token_curvatures[:points])
    assert run_stage(Stage("validity_curvature"), params).code == 0
    found, right = Projections.load(ValidityPaths(PresetPaths.of(params)).curvature), thin(whole, 20)
    assert found.steps.tolist() == [0, 20, 40]
    np.testing.assert_array_equal(found.token_curvatures, right.token_curvatures)
    np.testing.assert_array_equal(found.curvatures, right.curvatures)
    # All else is the run's own.
    for name in ("losses", "gradients", "movements", "eigenvalues"):
        np.testing.assert_array_equal(getattr(found, name), getattr(thin(own, 20), name))


@pytest.mark.parametrize("interval", [15, 30])
def test_a_grid_that_misses_points(made: tuple[Path, Projections], interval: int) -> None:
    params, whole = made
    task, out = Preset.read(PresetPaths.of(params)).arithmetic(), PresetPaths.of(params).task("arithmetic")
    basis, checkpoints = Basis.load(out.basis("hessian")), CheckpointDirectory(out.checkpoints)
    bare = replace(whole, curvatures=None, token_curvatures=None)
    with pytest.raises(PolcaError, match=rf"^validity\.curvature\.interval = {interval}: .*$"):
        coarse_curvature(task, bare, basis, checkpoints, CurvatureSettings(interval=interval))
