"""What readers see in place of the names that result files have for analyses, bases and scores."""

import re
from collections.abc import Mapping

ANALYSES: Mapping[str, str] = {
    "loss": "exact loss",
    "loss_change": "change in loss",
    "fisher": "Fisher",
    "lca": "LCA",
    "polca_first_order": "POLCA, first order",
    "polca": "POLCA",
    "polca_random": "POLCA, random basis",
    "polca_shuffled_hessian": "POLCA, shuffled Hessian",
    "polca_paper": "POLCA, eq. 4 to the letter",
    "polca_paper_current": "POLCA, eq. 4 with λ at every step",
    "polca_exact": "POLCA, exact curvature",
}
BASES: Mapping[str, str] = {
    "hessian": "Hessian",
    "shuffled_hessian": "shuffled Hessian",
    "random": "random basis",
}
_NAMES = {**ANALYSES, **BASES}


def _inline(name: str) -> str:
    """A name that can stand between commas."""
    head, comma, rest = _NAMES[name].partition(", ")
    return f"{head} ({rest})" if comma else head


# Of a number, which begins with a name: "polca 0.4", "polca, rank 1, recall".
_FIRST = re.compile(rf"^({'|'.join(sorted(_NAMES, key=len, reverse=True))})(?=[ ,]|$)")
# Of a rule, which compares analyses: "polca >= polca_first_order > lca".
_ANY = re.compile(rf"\b({'|'.join(sorted(ANALYSES, key=len, reverse=True))})\b")


def numbers(words: str) -> str:
    """What a number is of, or the numbers of a claim with a semicolon between them.

    >>> numbers("polca_random, rank 1, f1")
    'POLCA (random basis), rank 1, F1'
    >>> numbers("loss 0.43; loss_change none")
    'exact loss 0.43; change in loss none'
    """
    parts = (_FIRST.sub(lambda found: _inline(found[1]), part) for part in words.split("; "))
    said = "; ".join(parts).replace(", f1", ", F1").replace("_", " ")
    return said.replace("app c ", "Appendix C, ")


def text(words: str) -> str:
    """Words that name analyses anywhere, such as the rule of a claim.

    >>> text("best homogeneity: polca >= loss")
    'best homogeneity: POLCA ≥ exact loss'
    """
    return _ANY.sub(lambda found: _inline(found[1]), words).replace(">=", "≥")


def setting(name: str) -> str:
    """The setting that a claim of this name is about."""
    return "english" if name.startswith("english_") else "arithmetic"


def claim(name: str, sentence: str) -> str:
    """A claim's sentence, which says so where it is about English."""
    return f"English: {sentence}" if setting(name) == "english" else sentence
