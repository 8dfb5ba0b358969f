"""Train the part-of-speech tagger of the English setting: UPOS tags, learned from the English Web Treebank.

`python data/tagger/train.py --treebank <dir>` writes `model/` and `metrics.json` beside this script. `<dir>` holds the
treebank's `en_ewt-ud-{train,dev,test}.conllu`, plain or gzipped. The pipeline has one component, a `morphologizer` that
is given nothing but UPOS. It learns from paragraphs, for that is what it will read. The epoch with the best accuracy on
the dev part is kept.
"""

import polca  # noqa: F401  isort: skip  (pins threads and kernels before NumPy is imported)

import gzip
import hashlib
import platform
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import spacy
import thinc
import typer
from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import fix_random_seed, load_model_from_config, registry
from thinc.api import Config, use_ops

from polca.errors import PolcaError
from polca.machine.files import write_json, writing
from polca.machine.progress import progress

CONFIG: dict[str, Any] = {
    "nlp": {"lang": "en", "pipeline": ["morphologizer"]},
    "components": {
        "morphologizer": {
            "factory": "morphologizer",
            "model": {
                "@architectures": "spacy.Tagger.v2",
                "tok2vec": {
                    "@architectures": "spacy.Tok2Vec.v2",
                    "embed": {
                        "@architectures": "spacy.MultiHashEmbed.v2",
                        "width": 96,
                        "attrs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"],
                        "rows": [4000, 500, 1500, 500],
                        "include_static_vectors": False,
                    },
                    "encode": {
                        "@architectures": "spacy.MaxoutWindowEncoder.v2",
                        "width": 96,
                        "depth": 4,
                        "window_size": 1,
                        "maxout_pieces": 3,
                    },
                },
            },
        },
    },
    "training": {
        "seed": 0,
        "max_epochs": 6,
        "dropout": 0.1,
        "batcher": {"@batchers": "spacy.batch_by_words.v1", "size": 600, "tolerance": 0.2, "discard_oversize": False},
        "optimizer": {
            "@optimizers": "Adam.v1",
            "learn_rate": {
                "@schedules": "warmup_linear.v1",
                "warmup_steps": 250,
                "total_steps": 4200,
                "initial_rate": 1.5e-3,
            },
            "beta1": 0.9,
            "beta2": 0.999,
            "eps": 1e-8,
            "L2": 0.01,
            "L2_is_weight_decay": True,
            "grad_clip": 1.0,
            "use_averages": True,
        },
    },
}
"""In spaCy's terms; the whole of it, with spaCy's defaults, is in the model's config.cfg."""

SOURCE = "https://github.com/UniversalDependencies/UD_English-EWT"
RELEASE, COMMIT = "2.16", "15d613d8447b3478787d4c278730a1e48a945efb"
SHA256 = {
    "train": "3fb78e2b55482c8ee00caa653af436c88c9e5bc9a73ce26e4ae3ddc79d2b7e7b",
    "dev": "531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6",
    "test": "e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd",
}
"""Of the uncompressed files of that release."""


@dataclass(frozen=True)
class Paragraph:
    """Words, whether a space follows each, and their UPOS tags.

    Multiword tokens ("don't") are given as their words ("do", "n't"), whose forms always add up to the token's.
    """

    words: list[str]
    spaces: list[bool]
    tags: list[str]

    @property
    def text(self) -> str:
        return "".join(word + " " * space for word, space in zip(self.words, self.spaces, strict=True))

    def offsets(self) -> list[int]:
        """Where each word begins in `text`, in characters."""
        lengths = [len(word) + space for word, space in zip(self.words, self.spaces, strict=True)]
        return [0, *np.cumsum(lengths[:-1]).tolist()]


def read_part(treebank: Path, part: str) -> list[Paragraph]:
    """The paragraphs of one part (`train`, `dev`, `test`) of the treebank.

    Raises:
        PolcaError: the file is missing or is another release's.
    """
    name = f"en_ewt-ud-{part}.conllu"
    plain, packed = treebank / name, treebank / f"{name}.gz"
    if not plain.is_file() and not packed.is_file():
        raise PolcaError(
            f"{plain}: no such file, nor with .gz: give the folder of UD_English-EWT v{RELEASE} ({SOURCE})"
        )
    content = plain.read_bytes() if plain.is_file() else gzip.decompress(packed.read_bytes())
    if hashlib.sha256(content).hexdigest() != SHA256[part]:
        raise PolcaError(f"{name} in {treebank}: not the file of v{RELEASE}: check out commit {COMMIT}")
    return list(_paragraphs(content.decode("utf-8").split("\n")))


def _paragraphs(lines: list[str]) -> Iterator[Paragraph]:
    words: list[str] = []
    spaces: list[bool] = []
    tags: list[str] = []
    whole, whole_space = 0, True  # the last word of the current multiword token, and whether a space follows it
    for line in lines:
        if line.startswith(("# newpar", "# newdoc")) and words:
            yield Paragraph(words, spaces, tags)
            words, spaces, tags = [], [], []
        if not line or line.startswith("#"):
            whole = 0
            continue
        number, form, _, tag, *_, misc = line.split("\t")
        space = "SpaceAfter=No" not in misc.split("|")
        if "-" in number:
            whole, whole_space = int(number.split("-")[1]), space
        elif "." not in number:  # empty nodes of the enhanced graph are no words
            position = int(number)
            words.append(form)
            spaces.append(space if position > whole else whole_space and position == whole)
            tags.append(tag)
    if words:
        yield Paragraph(words, spaces, tags)


@dataclass(frozen=True)
class Accuracy:
    """Shares of the treebank's words, all between 0 and 1.

    Attributes:
        words: how many words there are.
        gold_tokens: tagged rightly where the tagger is given the treebank's words.
        spacy_tokens: tagged rightly where it is given the text: a word has the tag of the spaCy word that covers its
            first character. It is the rule by which tokens of a language model get theirs (`tagging.align`).
        shared: words that spaCy splits as the treebank does.
        shared_tokens: tagged rightly among these alone.
    """

    words: int
    gold_tokens: float
    spacy_tokens: float
    shared: float
    shared_tokens: float


def measure(nlp: Language, paragraphs: list[Paragraph]) -> Accuracy:
    """Accuracy on `paragraphs`, none of which is cut into sentences."""
    gold, right, shared = [], [], []
    given = nlp.pipe(Doc(nlp.vocab, p.words, p.spaces) for p in paragraphs)
    found = nlp.pipe(p.text for p in paragraphs)
    for p, words, doc in zip(paragraphs, given, found, strict=True):
        gold += [word.pos_ == tag for word, tag in zip(words, p.tags, strict=True)]
        starts = np.array([word.idx for word in doc])
        offsets = p.offsets()
        covering = [doc[int(i)] for i in np.searchsorted(starts, offsets, side="right") - 1]
        right += [word.pos_ == tag for word, tag in zip(covering, p.tags, strict=True)]
        shared += [
            (word.idx, word.text) == (offset, form)
            for word, offset, form in zip(covering, offsets, p.words, strict=True)
        ]
    return Accuracy(
        words=len(gold),
        gold_tokens=round(float(np.mean(gold)), 6),
        spacy_tokens=round(float(np.mean(right)), 6),
        shared=round(float(np.mean(shared)), 6),
        shared_tokens=round(float(np.mean(np.array(right)[shared])), 6),
    )


def examples_of(nlp: Language, paragraphs: list[Paragraph]) -> list[Example]:
    """Each paragraph twice: split by the treebank, and by spaCy, where only words that both have carry a loss.

    Either alone leaves something unseen: spaCy's pieces of "non-profit" must not all learn its tag, and the treebank's
    "n't" lacks the normal form ("not") that spaCy's tokenizer gives it.
    """
    examples = []
    for p in paragraphs:
        gold = Doc(nlp.vocab, p.words, p.spaces, pos=p.tags)
        tags = {(offset, form): tag for offset, form, tag in zip(p.offsets(), p.words, p.tags, strict=True)}
        found = nlp.make_doc(p.text)
        for word in found:
            word.pos_ = tags.get((word.idx, word.text), "")
        examples += [Example(nlp.make_doc(p.text), found), Example(Doc(nlp.vocab, p.words, p.spaces), gold)]
    return examples


def train(parts: dict[str, list[Paragraph]], config: dict[str, Any]) -> tuple[Language, list[float]]:
    """The pipeline at its best epoch, and the dev accuracy (`spacy_tokens`) after each epoch."""
    nlp = load_model_from_config(Config(config), auto_fill=True)
    settings = registry.resolve(nlp.config.interpolate()["training"], schema=ConfigSchemaTraining)
    # Python's generator shuffles, NumPy's draws the initial values and the dropout.
    fix_random_seed(settings["seed"])
    examples = examples_of(nlp, parts["train"])
    optimizer = nlp.initialize(lambda: examples, sgd=settings["optimizer"])
    history: list[float] = []
    best = b""
    with progress("tagger", settings["max_epochs"]) as bar:
        for _ in range(settings["max_epochs"]):
            for batch in settings["batcher"](random.sample(examples, len(examples))):
                nlp.update(batch, drop=settings["dropout"], sgd=optimizer)
                optimizer.step_schedules()
            with nlp.use_params(optimizer.averages):
                history.append(measure(nlp, parts["dev"]).spacy_tokens)
                if history[-1] > max(history[:-1], default=0):
                    best = nlp.to_bytes(exclude=["vocab"])
            bar.advance(note=f"dev {history[-1]:.4f}")
    # In a fresh vocabulary, so that the words of the treebank are not written with the weights.
    return load_model_from_config(nlp.config, auto_fill=True).from_bytes(best, exclude=["vocab"]), history


def describe(nlp: Language) -> None:
    """What spaCy's meta.json says of the pipeline."""
    nlp.meta.update(
        name="upos_ewt",
        version="1.0.0",
        description="Universal part-of-speech tags, trained on UD_English-EWT",
        author="the polca-repro authors",
        license="CC BY-SA 4.0",
        url="",
        email="",
    )
    nlp.meta["sources"] = [{"name": f"UD_English-EWT v{RELEASE}", "url": SOURCE, "license": "CC BY-SA 4.0"}]


def main(
    treebank: Annotated[Path, typer.Option(help="Folder with en_ewt-ud-{train,dev,test}.conllu, plain or .gz.")],
    output: Annotated[Path, typer.Option(help="Where model/ and metrics.json go.")] = Path(__file__).parent,
) -> None:
    """Train the tagger, measure it, and write model/ and metrics.json."""
    try:
        parts = {part: read_part(treebank, part) for part in SHA256}
        # NumPy's products instead of BLIS's, which depend on the CPU and cannot be pinned.
        with use_ops("numpy", use_blis=False):
            nlp, history = train(parts, CONFIG)
            describe(nlp)
            model = output / "model"
            with writing(model) as temporary:
                nlp.to_disk(temporary, exclude=["vocab"])
            nlp = spacy.load(model)
            accuracy = {part: asdict(measure(nlp, parts[part])) for part in ("dev", "test")}
    except PolcaError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    files = {
        path.relative_to(model).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(model.rglob("*"))
        if path.is_file()
    }
    write_json(
        output / "metrics.json",
        {
            "treebank": {"name": "UD_English-EWT", "release": RELEASE, "commit": COMMIT, "sha256": SHA256},
            "config": CONFIG,
            "training": {
                "paragraphs": len(parts["train"]),
                "words": sum(len(p.words) for p in parts["train"]),
                "dev_accuracy": history,
                "best_epoch": history.index(max(history)) + 1,
            },
            "versions": {
                "python": platform.python_version(),
                "spacy": spacy.__version__,
                "thinc": thinc.__version__,
                "numpy": np.__version__,
            },
            "accuracy": accuracy,
            "files": files,
        },
    )


if __name__ == "__main__":
    typer.run(main)
