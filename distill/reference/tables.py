"""What the experiments in `distill/recipes/` found.

`control OUT` names the best control and `objectives OUT` prints the table of `which-objective.sh`; `zero OUT` prints that
of `zero.sh`.
"""

import json
import sys
from pathlib import Path

OBJECTIVES = {
    "SFT on traces": ["sft"], "top-k KD": ["top-k"], "unbiased KD": ["sampled"], "on-policy": ["on-policy"],
    "SFT, then on-policy": ["sft-first", "sft-then-on-policy"], "reward": ["reward"],
    "SFT, then reward": ["sft-first", "sft-then-reward"],
}
# Shares that differ by less are taken for the same, as in `distill/src/reward/review.rs`.
NOTICED = 0.02
FAVOURED = 0.1


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def lowest_validation(run: Path) -> float:
    return min(line["validation_loss"] for line in lines(run) if "validation_loss" in line)


def percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def heading(*columns: str) -> None:
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")


def seeds_of(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def reports(out: Path, run: str) -> list[dict]:
    return [json.loads((seed / "report.json").read_text()) for seed in seeds_of(out / "reports" / run)]


def teraflops(last_lines: list[dict], seeds: int) -> str:
    """Of a seed on average, by what they were for; from the last lines of the runs of all seeds."""
    kinds = ("training", "completions", "teacher")
    parts = [sum(line["flops"][kind] for line in last_lines) / seeds / 1e12 for kind in kinds]
    return f"{sum(parts):.2f}: " + " / ".join(f"{part:.2f}" for part in parts)


def ends(run: Path, steps: int | None = None) -> tuple[dict, dict]:
    """Means of what rollouts told in the first and in the last steps of a run; a quarter of it by default."""
    told = [line["terms"] for line in lines(run)]
    count = steps or -(-len(told) // 4)
    mean = lambda part: {name: sum(terms.get(name, 0) for terms in part) / len(part) for name in ROLLOUTS}
    return mean(told[:count]), mean(told[-count:])


ROLLOUTS = ("pass_at_1", "well_formed", "right_leniently_only", "completion_tokens", "commonest_answer")


def looks(first: dict, last: dict) -> str:
    """What looks as if the reward had been learnt instead of the task."""
    found = []
    if last["right_leniently_only"] > first["right_leniently_only"] + NOTICED:
        found.append("right only leniently")
    if last["well_formed"] > first["well_formed"] + NOTICED and last["pass_at_1"] < first["pass_at_1"] + NOTICED:
        found.append("better form, no better answers")
    if last["commonest_answer"] > first["commonest_answer"] + FAVOURED:
        found.append("one answer to everything")
    return ", ".join(found) or "none"


def objectives(out: Path) -> None:
    heading("objective", "TFLOP: training / writing / teacher", "steps", "pass@1 of each seed", "tokens per answer",
            "gap recovered")
    for name, folders in OBJECTIVES.items():
        found = reports(out, folders[-1])
        if not found:
            continue
        seeds = [seed.name for seed in seeds_of(out / "reports" / folders[-1])]
        last_lines = [lines(out / folder / seed)[-1] for folder in folders for seed in seeds]
        students = [report["student"] for report in found]
        scores = ", ".join(percent(student["pass_at_1"]) for student in students)
        tokens = sum(student["completion_tokens"]["mean"] for student in students) / len(seeds)
        # Means of the seeds' ends: wider than the interval of these students' mean would be.
        gaps = [(gap["value"], *gap["ci95"]) for gap in (report["gap_recovered"] for report in found)]
        mean, low, high = (percent(sum(values) / len(gaps)) for values in zip(*gaps))
        steps = sum(end["step"] for end in last_lines) // len(seeds)
        spent = teraflops(last_lines, len(seeds))
        print(f"| {name} | {spent} | {steps} | {scores} | {tokens:.0f} | {mean} ({low} to {high}) |")
    for role in ("teacher", "base", "control"):
        score = found_first(out)[role]
        print(f"{role}: {percent(score['pass_at_1'])} ({' to '.join(map(percent, score['ci95']))})")
    for run in ("reward", "sft-then-reward"):
        for seed in seeds_of(out / run):
            first, last = ends(seed)
            print(f"{run}/{seed.name}: rollouts right {percent(first['pass_at_1'])} -> {percent(last['pass_at_1'])}, "
                  f"signs of a reward that was learnt instead of the task: {looks(first, last)}")


def found_first(out: Path) -> dict:
    """Any report: what it says of teacher, base and control stands in all of them."""
    return next(report for folders in OBJECTIVES.values() for report in reports(out, folders[-1]))


def zero(out: Path) -> None:
    heading("seed", "steps", "TFLOP: training / writing", "rollouts' pass@1, first ten steps -> last", "well formed",
            "tokens", "held-out pass@1", "looks")
    for folder in seeds_of(out / "reports" / "zero"):
        seed, report = out / "zero" / folder.name, json.loads((folder / "report.json").read_text())
        found_looks = looks(*ends(seed))
        first, last = ends(seed, 10)
        end = lines(seed)[-1]
        change = lambda name: f"{percent(first[name])} -> {percent(last[name])}"
        spent = teraflops([end], 1).rsplit(" / ", 1)[0]
        tokens = f"{first['completion_tokens']:.0f} -> {last['completion_tokens']:.0f}"
        score = percent(report["student"]["pass_at_1"])
        print(f"| {seed.name} | {end['step']} | {spent} | {change('pass_at_1')} | {change('well_formed')} | {tokens} | "
              f"{score} | {found_looks} |")
    base = report["base"]
    print(f"base: {percent(base['pass_at_1'])} ({' to '.join(map(percent, base['ci95']))})")


if __name__ == "__main__":
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what == "control":
        print(min((folder / "control").iterdir(), key=lowest_validation).name)
    else:
        {"objectives": objectives, "zero": zero}[what](folder)
