"""The English part of a preset's parameters as typed settings, checked before anything is computed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from polca.errors import PolcaError
from polca.machine.files import read_params
from polca.study.settings import (
    BreakthroughSettings,
    ClusteringSettings,
    PolcaSettings,
    check_sections,
    section,
    training_section,
)
from polca.tasks.english import text as english
from polca.tasks.training import TrainingConfig
from polca.tasks.transformer import ModelConfig


@dataclass(frozen=True)
class CorpusSettings:
    """Where the text comes from.

    Attributes:
        source: docstrings of installed packages, a directory of text files, or the Hugging Face hub.
        input: what DVC watches: the directory itself (`local`), the lock file otherwise.
        packages: `embedded` only.
        dataset, configuration: `hub` only.
        characters: read at most so many; 0 reads all.
        evaluation_fraction: of the documents, drawn at random.
    """

    source: Literal["embedded", "local", "hub"]
    input: str
    packages: list[str]
    dataset: str
    configuration: str
    characters: int
    evaluation_fraction: float


@dataclass(frozen=True)
class DataSettings:
    """`evaluation_contexts` windows are evaluated; training passes over its text at most `max_epochs` times."""

    evaluation_contexts: int
    max_epochs: int


@dataclass(frozen=True)
class ModelSettings:
    """Sizes of the transformer; its vocabulary is the tokenizer's."""

    layers: int
    width: int
    heads: int
    mlp_width: int
    context: int


@dataclass(frozen=True)
class SpreadBasisSettings:
    """Algorithm 1 with `vectors` basis checkpoints spread evenly over training, the last at its end.

    The paper's 30 vectors 750 steps apart do not fit its 14,000 steps.
    """

    vectors: int
    per_step: int
    hessian_examples: int
    tolerance: float
    which: Literal["algebraic", "magnitude"]


@dataclass(frozen=True)
class LabelSettings:
    """§5: a position's tag set covers `coverage` of a cluster; a label is simple with at most `simple_tags` of them."""

    coverage: float
    simple_tags: int


@dataclass(frozen=True)
class EnglishSettings:
    """Everything that the English setting takes from `params.yaml`.

    `clustering` is the paper's (Table 7), `finer` that of the analysis `polca_fine`, which is ours.
    """

    seed: int
    corpus: CorpusSettings
    vocabulary: int
    sizes: ModelSettings
    data: DataSettings
    training: TrainingConfig
    basis: SpreadBasisSettings
    pipeline: str
    polca: PolcaSettings
    clustering: ClusteringSettings
    finer: ClusteringSettings
    labels: LabelSettings
    breakthroughs: BreakthroughSettings
    workers: int

    def model(self, evaluated: bool = False) -> ModelConfig:
        """The model; with `evaluated` only the evaluated places predict."""
        s = self.sizes
        return english.model_config(
            self.vocabulary, s.context, s.layers, s.width, s.heads, s.mlp_width, evaluated=evaluated
        )

    def basis_steps(self) -> list[int]:
        """Training steps of the basis checkpoints: i · steps / vectors, to the nearest checkpoint, i = 1 … vectors."""
        every, count = self.training.checkpoint_interval, self.basis.vectors
        kept = self.training.steps // every
        return [every * ((2 * i * kept + count) // (2 * count)) for i in range(1, count + 1)]

    def windows(self, stream: english.Ids) -> english.TrainingWindows:
        """The training windows of a stream, after checking that it is long enough."""
        needed = self.training.steps * self.training.batch_size
        return english.TrainingWindows(stream, self.sizes.context, self.seed, needed, self.data.max_epochs)


def read_english(path: Path) -> EnglishSettings:
    """Read and check the English part of a preset.

    Raises:
        PolcaError: names the parameter and the mend.
    """
    params = read_params(path)
    try:
        e: dict[str, Any] = params["english"]
        settings = EnglishSettings(
            seed=int(e["seed"]),
            corpus=section(CorpusSettings, e["corpus"], "english.corpus"),
            vocabulary=int(e["tokenizer"]["vocabulary"]),
            sizes=section(ModelSettings, e["model"], "english.model"),
            data=section(DataSettings, e["data"], "english.data"),
            training=training_section(e["training"], "english.training"),
            basis=section(SpreadBasisSettings, e["basis"], "english.basis"),
            pipeline=str(e["tagging"]["pipeline"]),
            polca=section(PolcaSettings, e["polca"], "english.polca"),
            clustering=section(ClusteringSettings, e["clustering"], "english.clustering"),
            finer=section(ClusteringSettings, e["finer"], "english.finer"),
            labels=section(LabelSettings, e["labels"], "english.labels"),
            breakthroughs=section(BreakthroughSettings, e["breakthroughs"], "english.breakthroughs"),
            workers=int(params["workers"]),
        )
    except KeyError as error:
        raise PolcaError(f"{path}: missing parameter {error}: compare with presets/laptop/params.yaml") from error
    except (TypeError, ValueError) as error:
        raise PolcaError(f"{path}: a section of english is malformed ({error}): compare with presets/laptop") from error
    _check(settings)
    return settings


def _check(s: EnglishSettings) -> None:
    corpus, basis = s.corpus, s.basis
    sources = ("embedded", "local", "hub")
    if corpus.source not in sources:
        raise PolcaError(f"english.corpus.source = {corpus.source!r}: expected one of {', '.join(sources)}")
    packages = corpus.packages
    if not isinstance(packages, list) or not all(isinstance(p, str) for p in packages):
        raise PolcaError(f"english.corpus.packages = {packages!r}: expected a list of package names")
    if not 0 < corpus.evaluation_fraction < 1:
        raise PolcaError(f"english.corpus.evaluation_fraction = {corpus.evaluation_fraction}: must lie between 0 and 1")
    if not 0 < s.labels.coverage <= 1:
        raise PolcaError(f"english.labels.coverage = {s.labels.coverage}: must be above 0 and at most 1")
    check_sections(
        "english",
        s.training,
        s.polca,
        s.clustering,
        s.breakthroughs,
        basis.which,
        ("hessian",),
        (
            ("corpus.characters", corpus.characters, 0),
            ("model.context", s.sizes.context, english.BEFORE),
            ("data.evaluation_contexts", s.data.evaluation_contexts, 1),
            ("data.max_epochs", s.data.max_epochs, 1),
            ("basis.vectors", basis.vectors, 1),
            ("basis.per_step", basis.per_step, 1),
            ("basis.hessian_examples", basis.hessian_examples, 1),
            ("finer.min_cluster_size", s.finer.min_cluster_size, 2),
            ("finer.min_samples_divisor", s.finer.min_samples_divisor, 1),
            ("labels.simple_tags", s.labels.simple_tags, 1),
        ),
    )
    if s.workers < 1:
        raise PolcaError(f"workers = {s.workers}: must be at least 1")
    s.model()  # checks its sizes
    steps = s.basis_steps()
    if len(set(steps)) < len(steps) or steps[0] < 1:
        kept = s.training.steps // s.training.checkpoint_interval
        raise PolcaError(
            f"english.basis.vectors = {basis.vectors}: more than the {kept} checkpoints after step 0: lower it or "
            "training.checkpoint_interval"
        )
