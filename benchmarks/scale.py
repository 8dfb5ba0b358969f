"""Paper and pencil for larger models: prints the table of docs/scale.md. Nothing is run; change the numbers and look.

F = 2d operations are a forward pass over one token (attention's products with the context come on top). The units of
each stage are those of `polca.study.plan`.
"""

from dataclasses import dataclass

HESSIAN_PRODUCTS = 9
"""Assumed for one vector, as in `polca.study.plan`; known only afterwards."""
RATE = 30e12
"""Operations a second of one GPU in float32 without TF32: an assumption, about half of an H100's nominal rate."""
GB, EXA = 1e9, 1e18


@dataclass(frozen=True)
class Run:
    """Parameters, basis vectors, tokens of the Hessian sample and of the evaluation set, checkpoints."""

    name: str
    parameters: float
    vectors: int
    sample_tokens: int
    evaluation_tokens: int
    checkpoints: int

    def row(self) -> dict[str, str]:
        """The quantities of docs/scale.md, formatted."""
        d, k, forward = self.parameters, self.vectors, 2 * self.parameters
        basis = forward * self.sample_tokens * k * 10 * HESSIAN_PRODUCTS
        projections = forward * self.evaluation_tokens * (1 + 2 * k) * self.checkpoints
        return {
            "run": self.name,
            "weights, float32 (GB)": f"{4 * d / GB:.3g}",
            "training, 16d (GB)": f"{16 * d / GB:.3g}",
            "k vectors, float32 (GB)": f"{4 * k * d / GB:.3g}",
            "k vectors, bfloat16 (GB)": f"{2 * k * d / GB:.3g}",
            "checkpoints (GB)": f"{4 * d * self.checkpoints / GB:.3g}",
            "basis (EFLOP)": f"{basis / EXA:.3g}",
            "basis (GPU hours)": f"{basis / RATE / 3600:.3g}",
            "projections (EFLOP)": f"{projections / EXA:.3g}",
            "projections (GPU hours)": f"{projections / RATE / 3600:.3g}",
        }


RUNS = (
    Run("paper, arithmetic, every 20 steps", 9_475_594, 50, 1250 * 11, 1250 * 11, 501),
    Run("paper, arithmetic, every 5 steps", 9_475_594, 50, 1250 * 11, 1250 * 11, 2001),
    Run("paper, English", 40_274_737, 30, 1000 * 128, 100 * 128, 71),
    Run("1 B, English's counts, context 2048", 1e9, 30, 1000 * 2048, 100 * 2048, 71),
    Run("7 B, English's counts, context 2048", 7e9, 30, 1000 * 2048, 100 * 2048, 71),
)


def table() -> str:
    """The table, a quantity a line, as Markdown."""
    rows = [run.row() for run in RUNS]
    lines = [f"| {' | '.join([name, *(row[name] for row in rows)])} |" for name in rows[0]]
    return "\n".join([lines[0].replace("| run |", "| |", 1), "|---|" + "---|" * len(rows), *lines[1:]])


if __name__ == "__main__":
    print(table())
