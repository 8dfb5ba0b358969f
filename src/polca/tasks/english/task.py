"""The English setting (§5): next-token prediction, judged by parts of speech."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from polca.errors import PolcaError
from polca.machine.checkout import ROOT
from polca.machine.files import read_json, read_npz, write_json, write_npz, write_text
from polca.tasks.english import text
from polca.tasks.settings import ClusteringSettings, Count, Fraction, Section, TaskSettings
from polca.tasks.task import Analysis, Labels, Skill, Tables, TransformerTask, in_batches
from polca.tasks.transformer import ModelConfig, parameter_count

if TYPE_CHECKING:
    from polca.method.clustering import Clusters
    from polca.method.decomposition import Trajectories
    from polca.method.projections import Projections
    from polca.tasks.english.corpora.documents import Corpus
    from polca.tasks.english.scores import TaggedText

FINER: Mapping[str, str] = {"polca": "polca_fine", "loss": "loss_fine"}
"""Of an analysis the one with smaller clusters than the paper's, which is ours.

With min_samples = n/15 density is measured over a fifteenth of the clustered tokens, and most constructions are rarer
than that: a likely reason, not a proven one, why little is found. The finer ones ask what smaller groups there are."""
ANALYSES: Mapping[str, Analysis] = {
    "loss": Analysis(None, "loss"),
    "polca": Analysis("hessian", "polca"),
    "polca_fine": Analysis("hessian", "polca"),
    "loss_fine": Analysis(None, "loss"),
}
"""Figure 9; Figures 5, 10 and 11; and both in finer clusters."""

GRAPH_BYTES = 1 << 28
"""Logits of the Hessian sample up to which its graphs are kept between products (about ten times as much memory)."""


class CorpusSettings(Section):
    """Where the text comes from.

    Attributes:
        source: docstrings of installed packages, a directory of text files, or the Hugging Face hub.
        packages: `embedded` only.
        dataset, configuration: `hub` only.
        characters: read at most so many; 0 reads all.
        evaluation_fraction: of the documents, drawn at random.
    """

    source: Literal["embedded", "local", "hub"]
    packages: Annotated[tuple[str, ...], Field(strict=False)] = ()
    dataset: str = ""
    configuration: str = ""
    characters: Annotated[int, Field(ge=0)]
    evaluation_fraction: Fraction


class DataSettings(Section):
    """Text, tokenizer and windows: `context` tokens are read, `evaluation_contexts` windows evaluated.

    Training passes over its text at most `max_epochs` times.
    """

    corpus: CorpusSettings
    vocabulary: Count
    context: Annotated[int, Field(ge=text.BEFORE)]
    evaluation_contexts: Count
    max_epochs: Count


class LabelSettings(Section):
    """§5: a position's tag set covers `coverage` of a cluster; a label is simple with at most `simple_tags` of them.

    Attributes:
        pipeline: spaCy pipeline, as a folder of the checkout or an installed package.
    """

    pipeline: str
    coverage: Annotated[float, Field(gt=0, le=1)]
    simple_tags: Count


class EnglishClusteringSettings(ClusteringSettings):
    """The paper's clustering (Table 7), and the finer one of the analyses in `FINER`, which is ours."""

    finer: ClusteringSettings


class EnglishSettings(TaskSettings):
    """Everything that the English setting takes from `params.yaml`."""

    data: DataSettings
    labels: LabelSettings
    clustering: EnglishClusteringSettings

    @model_validator(mode="after")
    def _the_vocabulary_holds_the_bytes(self) -> Self:
        if self.data.vocabulary <= text.BYTES:
            raise PolcaError(f"data.vocabulary = {self.data.vocabulary}: must exceed the {text.BYTES} bytes and <PAD>")
        return self


@dataclass(frozen=True)
class EnglishTask(TransformerTask):
    """Text as windows of tokens; predictions with three tokens before them are evaluated.

    Attributes:
        source: directory of text files, where the corpus is `local`.
        root: the checkout, below which a tagger may lie.

    Raises:
        PolcaError: impossible settings; later, text that is missing, damaged or too short.
    """

    settings: EnglishSettings
    source: Path = ROOT
    root: Path = ROOT

    @property
    def name(self) -> str:
        """`english`."""
        return "english"

    @property
    def analyses(self) -> Mapping[str, Analysis]:
        """See `ANALYSES`."""
        return ANALYSES

    def __post_init__(self) -> None:
        self.settings.check_curvature(self.name, ("hessian",))

    @property
    def keep_graphs(self) -> bool:
        """Whether the logits of the Hessian sample are few enough."""
        s = self.settings
        return 4 * s.basis.hessian_examples * (s.data.context + 1) * s.data.vocabulary <= GRAPH_BYTES

    @property
    def length(self) -> int:
        """The context."""
        return self.settings.data.context

    @property
    def evaluation_sequences(self) -> int:
        """The evaluation windows."""
        return self.settings.data.evaluation_contexts

    def clustering(self, analysis: str) -> ClusteringSettings:
        """The paper's, or the finer one."""
        return self.settings.clustering.finer if analysis in FINER.values() else self.settings.clustering

    def model(self, evaluated: bool = False) -> ModelConfig:
        """The model; with `evaluated` only the evaluated places predict."""
        data, sizes = self.settings.data, self.settings.model
        return text.model_config(
            data.vocabulary, data.context, sizes.layers, sizes.width, sizes.heads, sizes.mlp_width, evaluated=evaluated
        )

    # --- Data ---------------------------------------------------------------------------------------------------------

    def file(self, name: str) -> Path:
        """A file of the stage `data`."""
        return self.folder / name

    def read_corpus(self) -> "Corpus":
        """The text that the preset asks for."""
        corpus = self.settings.data.corpus
        if corpus.source == "local":
            from polca.tasks.english.corpora.local import read_local

            return read_local(self.source, corpus.characters)
        if corpus.source == "hub":
            from polca.tasks.english.corpora.hub import read_hub

            return read_hub(corpus.dataset, corpus.configuration, corpus.characters)
        from polca.tasks.english.corpora.embedded import read_embedded

        return read_embedded(list(corpus.packages), corpus.characters)

    def _windows(self, stream: text.Ids) -> text.TrainingWindows:
        training, data = self.settings.training, self.settings.data
        needed = training.steps * training.batch_size
        return text.TrainingWindows(stream, data.context, self.settings.seed, needed, data.max_epochs)

    def write_data(self) -> None:
        """Read the corpus, train the tokenizer, pack the training text, draw the evaluation windows."""
        from polca.tasks.english.corpora.documents import split

        data, seed = self.settings.data, self.settings.seed
        corpus = self.read_corpus()
        training, evaluation = split(corpus, data.corpus.evaluation_fraction, seed)
        tokenizer = text.train_tokenizer(training, data.vocabulary)
        stream = text.pack(tokenizer, training)
        windows = self._windows(stream)
        evaluated = text.evaluation_text(tokenizer, evaluation, data.evaluation_contexts, data.context, seed)
        read = self.settings.training.steps * self.settings.training.batch_size
        text.save_tokenizer(tokenizer, self.file("tokenizer.json"))
        write_npz(self.file("training.npz"), {"tokens": stream})
        write_npz(self.file("evaluation.npz"), {n: getattr(evaluated, n) for n in ("tokens", "starts", "ends")})
        write_text(self.file("evaluation.txt"), evaluated.text)
        about = ("source", "title", "licence", "attribution", "paragraphs", "characters")
        write_json(
            self.file("corpus.json"),
            {
                **{name: getattr(corpus, name) for name in about},
                "sha256": corpus.sha256(),
                "documents": len(corpus.documents),
                "training_documents": len(training),
                "evaluation_documents": len(evaluation),
                "vocabulary": data.vocabulary,
                "training_tokens": len(stream),
                "evaluation_tokens": evaluated.tokens.shape[0] * self.model(evaluated=True).targets,
                "epochs": read / windows.windows,
                "characters_per_token": sum(map(len, training)) / len(stream),
            },
        )

    @cached_property
    def windows(self) -> text.TrainingWindows:
        """The training windows."""
        return self._windows(read_npz(self.file("training.npz"), {"tokens": "int N"})["tokens"])

    @cached_property
    def evaluation(self) -> text.EvaluationText:
        """The evaluation windows and their text."""
        data = self.settings.data
        return text.read_evaluation(
            self.file("evaluation.txt"), self.file("evaluation.npz"), data.evaluation_contexts, data.context
        )

    def batch(self, update: int) -> tuple[Tensor, Tensor]:
        """Windows of one update."""
        size = self.settings.training.batch_size
        return text.training_batch(self.windows.take(update * size, size))

    def hessian_batches(self, examples: int | None = None) -> list[tuple[Tensor, Tensor]]:
        """The first training windows."""
        sample = self.windows.take(0, examples or self.settings.basis.hessian_examples)
        return [text.training_batch(part) for part in in_batches(sample, self.settings.polca.batch_sequences)]

    def evaluation_batches(self) -> list[tuple[Tensor, Tensor]]:
        """The evaluation windows."""
        size = self.settings.polca.batch_sequences
        return [text.evaluation_batch(part) for part in in_batches(self.evaluation.tokens, size)]

    # --- Labels and scores --------------------------------------------------------------------------------------------

    def token_labels(self) -> Labels:
        """`tags [S, C + 1]`, index into `names`: every token of the windows has its word's part of speech."""
        from polca.tasks.english.tagging import NAMES, align, load_pipeline, word_tags

        e = self.evaluation
        words = word_tags(e.text, load_pipeline(self.settings.labels.pipeline, self.root))
        return {"tags": align(e.text, e.starts, e.ends, words), "names": np.array(NAMES)}

    def tagged_text(self, labels: Labels) -> "TaggedText":
        """The evaluation windows with their parts of speech."""
        from polca.tasks.english.scores import TaggedText

        names: NDArray[np.str_] = labels["names"]
        return TaggedText(self.evaluation, labels["tags"], tuple(names.tolist()))

    def projection_facts(self, projections: "Mapping[str, Projections]") -> dict[str, Any]:
        """Perplexities, and the mean loss, in nats, of a model that knows the tokens' frequencies and nothing else."""
        losses = projections["hessian"].losses
        targets = text.evaluated(self.evaluation.tokens)
        shares = np.unique(targets, return_counts=True)[1] / len(targets)
        corpus = read_json(self.file("corpus.json"))
        if corpus.get("evaluation_tokens") != losses.shape[1]:
            raise PolcaError(
                f"{self.file('corpus.json')}: not about the text of the {losses.shape[1]} evaluated tokens: "
                "run stage data@english again"
            )
        with np.errstate(over="ignore"):
            first, last = (float(np.exp(float(losses[i].mean(dtype=np.float64)))) for i in (0, -1))
        return {
            "parameters": parameter_count(self.model()),
            "corpus": corpus,
            "perplexity_first": first,
            "perplexity_last": last,
            "target_unigram_entropy": float(-(shares * np.log(shares)).sum()),
        }

    def score_clusters(
        self, analysis: str, clusters: "Clusters", trajectories: "Trajectories", breaks: pd.DataFrame, labels: Labels
    ) -> Tables:
        """Names of the clusters, their simple labels, and the contexts nearest to their medoids."""
        from polca.tasks.english.scores import score_tables

        return score_tables(analysis, clusters, breaks, self.tagged_text(labels), self.settings.labels)

    def cluster_counts(self, tables: Tables) -> dict[str, Any]:
        """What the paper counts, of every analysis."""
        from polca.tasks.english.scores import analysis_counts

        return {"analyses": {name: analysis_counts(name, tables["clusters"], tables["vectors"]) for name in ANALYSES}}

    def skills(self, labels: Labels) -> Mapping[str, Skill]:
        """The token to be written, of the most frequent ones; and the part of speech of its word, of all."""
        from polca.tasks.english.skills import skills

        words = text.evaluated(self.evaluation.tokens)
        spelt = text.load_tokenizer(self.file("tokenizer.json"))
        return skills(words, text.evaluated(labels["tags"]), labels["names"], spelt.decode)
