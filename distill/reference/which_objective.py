"""What `which-objective.sh` found: `control OUT` names the best control, `table OUT` prints the table."""

import json
import sys
from pathlib import Path

RUNS = {
    "SFT on traces": ["sft"], "top-k KD": ["top-k"], "unbiased KD": ["sampled"], "on-policy": ["on-policy"],
    "SFT, then on-policy": ["sft-first", "sft-then-on-policy"],
}


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def lowest_validation(run: Path) -> float:
    return min(line["validation_loss"] for line in lines(run) if "validation_loss" in line)


def percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def table(out: Path) -> None:
    print("| objective | TFLOP: training / writing / teacher | steps | pass@1 of each seed | gap recovered |")
    print("|---|---|---|---|---|")
    for name, folders in RUNS.items():
        seeds = sorted((out / "reports" / folders[-1]).iterdir())
        reports = [json.loads((seed / "report.json").read_text()) for seed in seeds]
        ends = [lines(out / folder / seed.name)[-1] for folder in folders for seed in seeds]
        kinds = ("training", "completions", "teacher")
        parts = [sum(end["flops"][kind] for end in ends) / len(seeds) / 1e12 for kind in kinds]
        spent = f"{sum(parts):.2f}: " + " / ".join(f"{part:.2f}" for part in parts)
        scores = ", ".join(percent(report["student"]["pass_at_1"]) for report in reports)
        # Means of the seeds' ends: wider than the interval of these students' mean would be.
        gaps = [(gap["value"], *gap["ci95"]) for gap in (report["gap_recovered"] for report in reports)]
        mean, low, high = (percent(sum(values) / len(gaps)) for values in zip(*gaps))
        steps = sum(end["step"] for end in ends) // len(seeds)
        print(f"| {name} | {spent} | {steps} | {scores} | {mean} ({low} to {high}) |")
    for role in ("teacher", "base", "control"):
        score = reports[0][role]
        print(f"{role}: {percent(score['pass_at_1'])} ({' to '.join(map(percent, score['ci95']))})")


if __name__ == "__main__":
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what == "control":
        print(min((folder / "control").iterdir(), key=lowest_validation).name)
    else:
        table(folder)
