"""The table and the picture of what scale.py measured.

python benchmarks/scale_picture.py outputs/scale/results.jsonl docs/pictures/scale.png
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

# Of each stage: what it is called, which numbers are its time, and whether it is drawn.
STAGES = {
    "rows": ("rows drawn and written", "seconds", "cpu_seconds"),
    "model_b_exact": ("Model B, exact: 500 queries", "seconds", "cpu_seconds"),
    "model_b_ivf_sq8": ("Model B, ivf_sq8: index built", "build_seconds", "build_cpu_seconds"),
    "model_b_ivf_pq": ("Model B, ivf_pq: index built", "build_seconds", "build_cpu_seconds"),
    "filter": ("filter by cells", "filter_seconds", "filter_cpu_seconds"),
    "filter_exact": ("filter, exact", "filter_seconds", "filter_cpu_seconds"),
    "blend": ("blend of two members", "blend_seconds", "blend_cpu_seconds"),
    "submission": ("submission written", "write_seconds", "write_cpu_seconds"),
}


def main(results: str, picture: str = "") -> None:
    lines = [json.loads(line) for line in Path(results).read_text(encoding="utf-8").splitlines()]
    last = {(line["stage"], line["rows"]): line for line in lines}  # one that was measured again counts
    print_costs(last)
    print_searches(last)
    if picture:
        draw(last, picture)


def sizes_of(last: dict) -> list[int]:
    return sorted({rows for _, rows in last})


def print_costs(last: dict) -> None:
    print("| stage | rows | CPU seconds | seconds, beside other work | own memory, MiB | disk, MiB | load |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for stage, (title, wall, cpu) in STAGES.items():
        for rows in sizes_of(last):
            if line := last.get((stage, rows)):
                disk = f"{line['disk_mib']:,.0f}" if "disk_mib" in line else ""
                load = line["machine"].split("load average ")[1].split()[0]
                times = f"{line[cpu]:,.1f} | {line[wall]:,.0f}"
                print(f"| {title} | {rows:,} | {times} | {line['own_mib']:,} | {disk} | {load} |")


def print_searches(last: dict) -> None:
    print("\n| Model B | rows | CPU ms a query | recall@100 | Avg-Cos | exact |\n|---|---:|---:|---:|---:|---:|")
    for stage in ("model_b_exact", "model_b_ivf_pq"):
        for rows in sizes_of(last):
            if line := last.get((stage, rows)):
                exact = line.get("avg_cos_exact", line["avg_cos"])
                found = f"{line.get('recall', 1.0):.3f} | {line['avg_cos']:.4f} | {exact:.4f}"
                print(f"| {stage.removeprefix('model_b_')} | {rows:,} | {line['cpu_ms_a_query']:.2f} | {found} |")
    print("\n| rows | cells | searched | CPU ms a query | recall@100 | Avg-Cos |\n|---:|---:|---|---:|---:|---:|")
    for rows in sizes_of(last):
        for line in last.get(("model_b_probes", rows), {}).get("probes", []):
            found = f"{line['cpu_ms_a_query']:.2f} | {line['recall']:.3f} | {line['avg_cos']:.4f}"
            print(f"| {rows:,} | {last['model_b_probes', rows]['cells']:,} | 1/{line['share']} | {found} |")
    print("\n| filter | rows | dropped | found of those to drop | kept unlike exactly |\n|---|---:|---:|---:|---:|")
    for rows in sizes_of(last):
        if line := last.get(("filter", rows)):
            exact = last.get(("filter_exact", rows), {}).get("differ", "not compared")
            print(f"| by cells | {rows:,} | {line['dropped']:,} | {line['recall']:.4f} | {exact} |")


def draw(last: dict, picture: str) -> None:
    """CPU time and disk by the number of rows, both axes logarithmic."""
    figure, (times, disks) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for stage, (title, _, cpu) in STAGES.items():
        points = [(rows, last[stage, rows]) for rows in sizes_of(last) if (stage, rows) in last]
        if not points:
            continue
        (curve,) = times.plot([rows for rows, _ in points], [line[cpu] for _, line in points], "o-", label=title)
        if stored := [(rows, line["disk_mib"]) for rows, line in points if "disk_mib" in line]:
            disks.plot(*zip(*stored), "o-", color=curve.get_color(), label=title)
    times.set(ylabel="CPU seconds", title="Time of one core")
    disks.set(ylabel="MiB", title="Disk")
    for axes in (times, disks):
        axes.set(xscale="log", yscale="log", xlabel="rows of 384 numbers")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
