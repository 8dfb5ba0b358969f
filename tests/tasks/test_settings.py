"""Parameters of both tasks: impossible ones are refused in one line that names the first."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from polca.errors import PolcaError
from polca.tasks.arithmetic.task import ANALYSES, ArithmeticSettings, ArithmeticTask
from polca.tasks.english.task import EnglishSettings, EnglishTask
from polca.tasks.settings import ModelSettings, TrainingSettings, parse
from polca.tasks.task import TransformerTask

PRESETS = Path(__file__).parents[2] / "presets"
PAPER: dict[str, Any] = yaml.safe_load((PRESETS / "paper" / "params.yaml").read_text(encoding="utf-8"))


def task_of(name: str, values: Any) -> TransformerTask:
    if name == "arithmetic":
        return ArithmeticTask(parse(ArithmeticSettings, values, name), Path())
    return EnglishTask(parse(EnglishSettings, values, name), Path())


def changed(name: str, place: str, value: Any) -> TransformerTask:
    """A task with one parameter of the published preset replaced."""
    values = copy.deepcopy(PAPER[name])
    section, *inner = values, *place.split(".")
    for key in inner[:-1]:
        section = section[key]
    section[inner[-1]] = value
    return task_of(name, values)


ARITHMETIC: list[tuple[str, Any, str]] = [
    ("seed", -1, r"seed = -1: input should be greater than or equal to 0"),
    ("seed", 0.0, r"seed = 0\.0: input should be a valid integer"),
    ("model", 7, r"model = 7: "),
    ("model.heads", 7, r"model\.width = 512: not divisible by heads = 7"),
    ("model.layers", 0, r"model\.layers = 0: input should be greater than or equal to 1"),
    ("data.evaluation_examples", 0, r"data\.evaluation_examples = 0: input should be greater than or equal to 1"),
    ("training.speed", 3, r"training\.speed: unknown parameter"),
    ("training.steps", 10_010, r"training\.checkpoint_interval = 20: does not divide steps = 10010"),
    ("training.steps", True, r"training\.steps = True: input should be a valid integer"),
    ("training.steps", "10000", r"training\.steps = '10000': input should be a valid integer"),
    ("training.learning_rate", "1e-5", r"training\.learning_rate = '1e-5': input should be a valid number"),
    ("training.learning_rate", True, r"training\.learning_rate = True: input should be a valid number"),
    ("training.learning_rate", 0, r"training\.learning_rate = 0: input should be greater than 0"),
    ("training.learning_rate", float("nan"), r"training\.learning_rate = nan: input should be a finite number"),
    ("training.learning_rate", float("inf"), r"training\.learning_rate = inf: input should be a finite number"),
    ("training.betas", [0.9], r"missing parameter arithmetic\.training\.betas\.1: "),
    ("training.betas", [0.9, "x"], r"training\.betas\.1 = 'x': input should be a valid number"),
    ("training.betas", [0.9, 1.0], r"training\.betas\.1 = 1\.0: input should be less than 1"),
    ("training.weight_decay", -1, r"training\.weight_decay = -1: input should be greater than or equal to 0"),
    ("basis.vectors", 51, r"basis\.vectors = 51: 51 × 200 = 10200 steps go beyond training\.steps = 10000"),
    ("basis.vectors", 2.0, r"basis\.vectors = 2\.0: input should be a valid integer"),
    ("basis.interval", 30, r"basis\.interval = 30: not a multiple of training\.checkpoint_interval = 20"),
    ("basis.hessian_examples", 10**6, r"basis\.hessian_examples = 1000000: more than the 640000 training examples"),
    ("basis.tolerance", None, r"basis\.tolerance = None: input should be a valid number"),
    ("basis.which", "largest", r"basis\.which = 'largest': input should be 'algebraic' or 'magnitude'"),
    ("basis.lca_parameters", 0, r"basis\.lca_parameters = 0: input should be greater than or equal to 1"),
    ("polca.interval", 60, r"polca\.interval = 60: does not divide training\.steps = 10000"),
    ("polca.interval", 30, r"polca\.interval = 30: not a multiple of training\.checkpoint_interval = 20"),
    ("polca.interval", 0, r"polca\.interval = 0: input should be greater than or equal to 1"),
    ("polca.second_order", "third", r"polca\.second_order = 'third': .*'paper', 'trapezoid', 'exact' or 'none'"),
    (
        "polca.second_order",
        "exact",
        r"second_order = 'exact': needs the curvature along basis shuffled_hessian: add it",
    ),
    ("polca.eigenvalue", "last", r"polca\.eigenvalue = 'last': input should be 'basis' or 'current'"),
    ("polca.curvature_of", ["hesian"], r"polca\.curvature_of = \['hesian'\]: 'hesian' is none of hessian, shuffled"),
    ("polca.curvature_points", 0, r"polca\.curvature_points = 0: input should be greater than or equal to 1"),
    ("polca.curvature_of", "hessian", r"polca\.curvature_of = 'hessian': input should be"),
    ("archive.relative_error", 1, r"archive\.relative_error = 1: input should be less than 1"),
    ("archive.relative_error", -0.1, r"archive\.relative_error = -0\.1: input should be greater than or equal to 0"),
    ("labels.place", 1, r"labels\.place: unknown parameter"),
    ("clustering.min_cluster_size", 1, r"clustering\.min_cluster_size = 1: input should be greater than or equal to 2"),
    ("clustering.finer", {}, r"clustering\.finer: unknown parameter"),
    ("breakthroughs.delta", 90, r"breakthroughs\.delta = 90: not a multiple of polca\.interval = 20"),
    ("breakthroughs.flat_step", 1000, r"breakthroughs\.flat_step: unknown parameter"),
    ("breakthroughs.fall", 0, r"breakthroughs\.fall = 0: input should be greater than 0"),
    ("breakthroughs.fall", 1.0, r"breakthroughs\.fall = 1\.0: input should be less than 1"),
    (
        "breakthroughs.published.delta",
        90,
        r"^arithmetic\.breakthroughs\.published\.delta = 90: not a multiple of polca\.interval = 20: change one of",
    ),
    ("breakthroughs.published.flat_step", -1, r"published\.flat_step = -1: input should be greater than or equal to 0"),
    ("breakthroughs.published", {"delta": 100}, r"missing parameter arithmetic\.breakthroughs\.published\.flat_step: "),
    ("clustering.standardise", True, r"clustering\.standardise: unknown parameter"),
    ("stability.repeats", 0, r"stability\.repeats = 0: input should be greater than or equal to 1"),
    ("stability.noise", 0, r"stability\.noise = 0: input should be greater than 0"),
    ("stability.analyses", "polca", r"stability\.analyses = 'polca': input should be"),
    ("plots.reading", "shapes", r"plots\.reading = 'shapes': input should be 'standardised' or 'raw'"),
    ("plots.last_step", 0, r"plots\.last_step = 0: input should be greater than or equal to 1"),
]

ENGLISH: list[tuple[str, Any, str]] = [
    ("data.corpus.source", "web", r"data\.corpus\.source = 'web': input should be 'embedded', 'local' or 'hub'"),
    ("data.corpus.packages", "numpy", r"data\.corpus\.packages = 'numpy': input should be"),
    ("data.corpus.packages", ["numpy", 3], r"data\.corpus\.packages\.1 = 3: input should be a valid string"),
    ("data.corpus.evaluation_fraction", 1.0, r"data\.corpus\.evaluation_fraction = 1\.0: input should be less than 1"),
    ("data.corpus.characters", -1, r"data\.corpus\.characters = -1: input should be greater than or equal to 0"),
    ("data.vocabulary", "many", r"data\.vocabulary = 'many': input should be a valid integer"),
    ("data.vocabulary", 256, r"data\.vocabulary = 256: must exceed the 256 bytes and <PAD>"),
    ("data.context", 2, r"data\.context = 2: input should be greater than or equal to 3"),
    ("data.max_epochs", 0, r"data\.max_epochs = 0: input should be greater than or equal to 1"),
    ("model.heads", 7, r"model\.width = 512: not divisible by heads = 7"),
    ("model.context", 128, r"model\.context: unknown parameter"),
    ("tokenizer", {}, r"tokenizer: unknown parameter"),
    ("training.learning_rate", "1e-5", r"training\.learning_rate = '1e-5': input should be a valid number"),
    ("basis.vectors", 71, r"basis\.vectors = 71: more than the 70 checkpoints"),
    ("basis.interval", 750, r"basis\.interval = 750: not a multiple of training\.checkpoint_interval = 200"),
    ("basis.interval", 600, r"basis\.vectors = 30: 30 × 600 = 18000 steps go beyond training\.steps = 14000"),
    ("polca.interval", 300, r"polca\.interval = 300: not a multiple of training\.checkpoint_interval = 200"),
    ("polca.second_order", "exact", r"needs the curvature along basis hessian: add it to english\.polca\.curvature_of"),
    ("polca.curvature_of", ["random"], r"polca\.curvature_of = \['random'\]: 'random' is none of hessian"),
    ("labels.pipeline", 3, r"labels\.pipeline = 3: input should be a valid string"),
    ("labels.coverage", 0, r"labels\.coverage = 0: input should be greater than 0"),
    ("labels.coverage", 1.5, r"labels\.coverage = 1\.5: input should be less than or equal to 1"),
    ("labels.simple_tags", 0, r"labels\.simple_tags = 0: input should be greater than or equal to 1"),
    ("clustering.finer", None, r"clustering\.finer = None: "),
    ("clustering.finer.min_cluster_size", 1, r"clustering\.finer\.min_cluster_size = 1: "),
    ("breakthroughs.delta", 100, r"breakthroughs\.delta = 100: not a multiple of polca\.interval = 200"),
]

CASES = [("arithmetic", *case) for case in ARITHMETIC] + [("english", *case) for case in ENGLISH]


@pytest.mark.parametrize(("name", "place", "value", "message"), CASES)
def test_impossible_parameter(name: str, place: str, value: Any, message: str) -> None:
    with pytest.raises(PolcaError, match=message) as caught:
        changed(name, place, value)
    assert f"{name}.{place.split('.')[0]}" in str(caught.value)
    assert "\n" not in str(caught.value)


MISSING = [
    *(("arithmetic", place) for place in ("seed", "basis", "basis.vectors", "plots.last_step", "clustering")),
    *(("arithmetic", place) for place in ("stability", "stability.repeats", "breakthroughs.fall")),
    *(
        ("english", place)
        for place in ("labels", "labels.coverage", "clustering.finer", "data.corpus.source", "stability")
    ),
]


@pytest.mark.parametrize(("name", "place"), MISSING)
def test_missing_parameter(name: str, place: str) -> None:
    values = copy.deepcopy(PAPER[name])
    section, *inner = values, *place.split(".")
    for key in inner[:-1]:
        section = section[key]
    del section[inner[-1]]
    with pytest.raises(PolcaError) as caught:
        task_of(name, values)
    assert str(caught.value) == f"missing parameter {name}.{place}: compare with the checkout's own params.yaml"


@pytest.mark.parametrize("values", [None, [], "text", 3])
def test_what_is_no_section(values: Any) -> None:
    with pytest.raises(PolcaError, match=r"^arithmetic.* = ") as caught:
        task_of("arithmetic", values)
    assert "\n" not in str(caught.value)


class TestPublished:
    def test_arithmetic(self) -> None:
        """Curvature along every basis is what `exact` asks for; lists of YAML become tuples."""
        both = PAPER["arithmetic"]["polca"] | {
            "second_order": "exact",
            "curvature_of": ["hessian", "shuffled_hessian", "random"],
            "curvature_points": None,
        }
        settings = changed("arithmetic", "polca", both).settings
        assert settings.polca.needs_curvature
        assert settings.polca.curvature_of == ("hessian", "shuffled_hessian", "random")
        assert settings.training.betas == (0.9, 0.95)

    @pytest.mark.parametrize(
        ("form", "eigenvalue", "needed"),
        [
            ("paper", "basis", False),
            ("paper", "current", True),
            ("exact", "basis", True),
            ("trapezoid", "current", False),
        ],
    )
    def test_curvature_is_needed_where_a_form_uses_it(self, form: str, eigenvalue: str, needed: bool) -> None:
        polca = PAPER["english"]["polca"] | {"second_order": form, "eigenvalue": eigenvalue}
        if needed:
            with pytest.raises(PolcaError, match="needs the curvature along basis hessian"):
                changed("english", "polca", polca)
        settings = changed("english", "polca", polca | {"curvature_of": ["hessian"]}).settings
        assert settings.polca.needs_curvature is needed
        some = polca | {"curvature_of": ["hessian"], "curvature_points": 69}
        if needed:
            with pytest.raises(PolcaError, match=r"english\.polca\.curvature_points = 69: second_order = .* at every"):
                changed("english", "polca", some)
        else:
            assert changed("english", "polca", some).settings.polca.curvature_points == 69
        # Of 71 points the last opens no interval.
        assert changed("english", "polca", some | {"curvature_points": 70}).settings.curved_everywhere("hessian")


@pytest.mark.parametrize("name", ["arithmetic", "english"])
def test_what_may_be_left_out(name: str) -> None:
    """Without the paper's constants none are counted; figures show standardised trajectories."""
    values = copy.deepcopy(PAPER[name])
    values["breakthroughs"].pop("published", None)
    del values["plots"]["reading"], values["stability"]["noise"]
    settings = task_of(name, values).settings
    assert settings.breakthroughs.published is None
    assert settings.plots.reading == "standardised"
    assert settings.stability.noise == 0.01


class TestChanged:
    TRAINING = TrainingSettings(steps=12, batch_size=8, learning_rate=1e-3, checkpoint_interval=3)

    def test_a_copy(self) -> None:
        other = self.TRAINING.changed(steps=24)
        assert (other.steps, other.batch_size, self.TRAINING.steps) == (24, 8, 12)

    def test_sections_in_part(self) -> None:
        settings = changed("arithmetic", "seed", 3).settings
        other = settings.changed(seed=4, training={"steps": 20_000, "batch_size": 32})
        assert (other.seed, other.training.steps, other.training.learning_rate) == (4, 20_000, 1e-5)
        assert other.basis == settings.basis

    def test_checked_like_any(self) -> None:
        with pytest.raises(PolcaError, match=r"parameters\.checkpoint_interval = 5: does not divide steps = 12"):
            self.TRAINING.changed(checkpoint_interval=5)
        with pytest.raises(PolcaError, match=r"parameters\.pace: unknown parameter"):
            self.TRAINING.changed(pace=1)
        with pytest.raises(PolcaError, match=r"parameters\.breakthroughs\.delta = 50: not a multiple"):
            changed("arithmetic", "seed", 0).settings.changed(breakthroughs={"delta": 50})

    def test_nothing_changes_in_place(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            self.TRAINING.steps = 24  # type: ignore[misc]


def test_name_of_a_section_is_what_the_caller_says() -> None:
    with pytest.raises(PolcaError, match=r"^some\.place\.layers = 'two': input should be a valid integer$"):
        parse(ModelSettings, {"layers": "two", "width": 8, "heads": 2, "mlp_width": 16}, "some.place")


class TestBasisSteps:
    def test_at_an_interval(self) -> None:
        """The paper's 50 · 200 steps."""
        assert changed("arithmetic", "seed", 0).settings.basis_steps() == list(range(200, 10_001, 200))

    def test_spread_over_training(self) -> None:
        """30 vectors evenly over 14,000 steps, each at the kept checkpoint next to its share."""
        steps = changed("english", "seed", 0).settings.basis_steps()
        exact = [14_000 * i / 30 for i in range(1, 31)]
        assert all(step % 200 == 0 for step in steps)
        assert all(abs(step - share) <= 100 for step, share in zip(steps, exact, strict=True))
        assert steps[-1] == 14_000

    def test_every_checkpoint(self) -> None:
        assert changed("english", "basis.vectors", 70).settings.basis_steps() == list(range(200, 14_001, 200))


def test_more_examples_than_pairs() -> None:
    """Said when the additions are drawn."""
    with pytest.raises(PolcaError, match=r"more than the 1000000 pairs of summands: lower training\.steps"):
        _ = changed("arithmetic", "data.evaluation_examples", 400_000).data  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("polca", "missing"),
    [
        ({"curvature_points": None}, set()),
        ({"curvature_points": 500}, set()),
        ({"curvature_points": 499}, {"polca_paper_current", "polca_exact"}),
        ({"curvature_points": 10}, {"polca_paper_current", "polca_exact"}),
        ({"curvature_of": ["random"], "curvature_points": None}, {"polca_paper_current", "polca_exact"}),
    ],
)
def test_analyses_need_curvature_at_every_point(polca: dict[str, Any], missing: set[str]) -> None:
    """Of the paper's 501 points the last opens no interval."""
    task = changed("arithmetic", "polca", PAPER["arithmetic"]["polca"] | polca)
    assert set(ANALYSES) - set(task.analyses) == missing
    assert list(task.analyses) == [name for name in ANALYSES if name not in missing]
    assert task.bases == ["hessian", "lca", "random", "shuffled_hessian"]
