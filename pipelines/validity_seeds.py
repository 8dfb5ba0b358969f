"""Tables 8–11 over several seeds of training and data, and whether their vectors and clusters are about the same."""

from polca.machine.files import read_csv, read_npz, read_params, stacked, write_csv, write_json, writing
from polca.machine.parallel import map_processes
from polca.method.projections import Projections, thin
from polca.study.settings import Preset
from polca.study.stage import resumable, run
from polca.tasks.arithmetic.labels import EVALUATION_FORM
from polca.validity.profiles import compare_profiles
from polca.validity.seeds import SeedsWork, run_seed, seed_tables, summarize_probes, summarize_values, table_values
from polca.validity.settings import SeedsSettings, SpecificationSettings, on_grid, other_seeds, read


def main(preset: Preset) -> None:
    seeds, task, out = read(preset, "seeds", SeedsSettings), preset.arithmetic(), preset.paths.task("arithmetic")
    others, coarse = other_seeds(task, seeds), on_grid(task, seeds)
    grid = read(preset, "specification", SpecificationSettings)
    published = read_params(preset.paths.root / "data" / "published.yaml")
    with resumable(preset, "validity_seeds", "arithmetic", "validity") as work:
        shared = SeedsWork(coarse, grid, work)
        done = map_processes(run_seed, shared, others, description="seeds", resume=work / "done")
        own = {kind: thin(Projections.load(out.projection(kind)), seeds.interval) for kind in task.bases}
        losses = {task.settings.seed: float(own["hessian"].losses[-1].mean(dtype="float64"))}
        losses |= {seed: float(result["last_loss"]) for seed, result in zip(others, done, strict=True)}
        tables = seed_tables(coarse, own, read_npz(out.labels, EVALUATION_FORM), grid)
        for name in tables:
            parts = [read_csv(work / "tables" / name / f"{seed}.csv") for seed in others]
            tables[name] = stacked(tables[name], *parts)
        values = table_values(tables["clusters"], tables["vectors"])
        matches, agreement = compare_profiles(tables["profiles"], seeds.permutations)
        tables |= {"values": values, "summary": summarize_values(values, published), "matches": matches}
        tables["probe_summary"] = summarize_probes(tables)
        with writing(preset.paths.validity / "seeds") as folder:
            for name, table in tables.items():
                write_csv(folder / f"seeds_{name}.csv", table)
            write_json(
                folder / "seeds.json",
                {
                    "seeds": sorted(losses),
                    "own_seed": task.settings.seed,
                    "interval": seeds.interval,
                    "delta": seeds.delta,
                    "permutations": seeds.permutations,
                    "fall": task.settings.breakthroughs.fall,
                    "last_loss": {str(seed): losses[seed] for seed in sorted(losses)},
                    "stability": agreement,
                },
            )


if __name__ == "__main__":
    run(main)
