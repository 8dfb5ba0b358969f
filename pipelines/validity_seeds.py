"""Tables 8–11 over several seeds of training and data, and whether their vectors and clusters are about the same."""

from polca.machine.files import PresetPaths, read_csv, read_npz, read_params, stacked, write_csv, write_json, writing
from polca.machine.parallel import map_processes
from polca.method.projections import Projections, thin
from polca.study.scores import BASES
from polca.study.stage import resumable, run
from polca.tasks.arithmetic_labels import EVALUATION_FORM
from polca.validity.profiles import compare_profiles
from polca.validity.seeds import SeedsWork, run_seed, seed_tables, summarize_values, table_values
from polca.validity.seeds_settings import read_seeds


def main(paths: PresetPaths) -> None:
    seeds, settings = read_seeds(paths.params)
    evaluation = read_npz(paths.arithmetic.evaluation, EVALUATION_FORM)
    published = read_params(paths.root / "data" / "published.yaml")
    with resumable(paths, "validity_seeds", "arithmetic", "validity") as work:
        done = map_processes(
            run_seed,
            SeedsWork(settings, work),
            seeds.others,
            workers=settings.workers,
            description="seeds",
            resume=work / "done",
        )
        own = {
            name: thin(Projections.load(paths.arithmetic.projections / f"{name}.npz"), seeds.interval) for name in BASES
        }
        losses = {settings.seed: float(own["hessian"].losses[-1].mean(dtype="float64"))}
        losses |= {seed: float(result["last_loss"]) for seed, result in zip(seeds.others, done, strict=True)}
        tables = seed_tables(own, evaluation["place"], evaluation["carry"], settings)
        for name in tables:
            others = [read_csv(work / "tables" / name / f"{seed}.csv") for seed in seeds.others]
            tables[name] = stacked(tables[name], *others)
        values = table_values(tables["clusters"], tables["vectors"])
        matches, agreement = compare_profiles(tables["profiles"], seeds.permutations)
        with writing(paths.root / "runs" / paths.name / "validity" / "seeds") as folder:
            for name, table in {
                **tables,
                "values": values,
                "summary": summarize_values(values, published),
                "matches": matches,
            }.items():
                write_csv(folder / f"seeds_{name}.csv", table)
            write_json(
                folder / "seeds.json",
                {
                    "seeds": sorted(losses),
                    "own_seed": settings.seed,
                    "interval": seeds.interval,
                    "delta": seeds.delta,
                    "permutations": seeds.permutations,
                    "flat_step": settings.breakthroughs.flat_step,
                    "last_loss": {str(seed): losses[seed] for seed in sorted(losses)},
                    "stability": agreement,
                },
            )


if __name__ == "__main__":
    run(main)
