"""What a confidence is worth: CIDEr of the captions that are left when those of low confidence are held back."""

import json
from pathlib import Path

from clipknight.data.result_files import one_an_image, read_captions, references_of
from clipknight.files import atomic_file
from clipknight.output_names import check_output
from clipknight.plots.settings import CoverageSettings
from clipknight.scoring.caption_metrics import cider_by_image

import numpy as np
import pandas as pd

SHARES = (1.0, 0.9, 0.75, 0.5, 0.25, 0.1)  # of the images, the most confident first


def coverage_of_captions(s: CoverageSettings) -> list[dict]:
    """CIDEr of the most confident captions, by how many of all they are"""
    from clipknight.plots.ensemble_plots import coverage_plot  # needs an extra

    check_output("--out", s.out, (".json",), s.candidates, s.references)
    candidates = one_an_image(read_captions(s.candidates), s.candidates)
    ids = candidates.index.to_numpy(dtype=object)
    rows, _ = references_of(ids, s.candidates, s.references, s.allow_partial)
    references = rows["caption"].groupby(ids[rows["at"]]).agg(list).to_dict()
    cider = pd.Series(cider_by_image(candidates.to_dict(), references))
    curve, out = coverage(read_confidences(s.candidates)[ids], cider[ids]), Path(s.out)
    lines = ["| captions kept | confidence, at least | images | CIDEr |", "|---:|---:|---:|---:|"]
    lines += [f"| {p['share']:.0%} | {p['least']:.3f} | {p['images']:,} | {100 * p['cider']:.1f} |" for p in curve]
    print("\n".join(lines))
    with atomic_file(out.with_suffix(".md")) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with atomic_file(out.with_suffix(".png")) as temporary:
        coverage_plot(curve).savefig(temporary, dpi=120)
    with atomic_file(out) as temporary:
        temporary.write_text(json.dumps(curve, indent=1), encoding="utf-8")
    print(f"-> {out}")
    return curve


def coverage(confidence: pd.Series, cider: pd.Series) -> list[dict]:
    """Of each of SHARES of the images, the most confident ones: their least confidence, number and mean CIDEr."""
    order = np.argsort(-confidence.to_numpy(), kind="stable")
    curve = []
    for share in SHARES:
        kept = order[: max(1, round(share * len(order)))]
        least, mean = float(confidence.iloc[kept[-1]]), float(cider.iloc[kept].mean())
        curve.append({"share": share, "least": least, "images": len(kept), "cider": mean})
    return curve


def read_confidences(path: str) -> pd.Series:
    """The confidences that caption.py wrote beside its captions, by image. ValueError for a file without."""
    if path.lower().endswith(".json"):
        table = pd.DataFrame(json.loads(Path(path).read_text(encoding="utf-8"))).rename(columns={"image_id": "image"})
    else:
        table = pd.read_csv(path, dtype={"image": "str"})
    if not {"image", "confidence"} <= set(table.columns):
        raise ValueError(f"{path} has no confidences: caption.py writes them for a run that blends by --method gate")
    return table.set_index("image")["confidence"].astype(float)
