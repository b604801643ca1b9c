"""Blend the predictions of any number of runs into an ensemble.

The weights are fitted on valid, which no member may have trained on (a member that did gets more weight than it earns,
and no score printed here can tell). The ensemble's score is cross-fitted: each image is blended by weights fitted on
folds that hold neither it nor an image with similar captions. Those out-of-fold rows are the run's valid predictions;
its test predictions, and `predict.py`, use the weights fitted on all of valid. `--method bands` fits a weight for each
member and band of the targets' principal components, in the same way; the table shows what that gains.

    python src/blend.py --data input/flickr8k --members a b --run ensemble
    python src/blend.py --data input/flickr8k --members a b --method bands --run by_bands
    python src/blend.py --data input/flickr8k --members a b --weights 0.6 0.4 --run sixty_forty
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from clipknight.embedding.captioned_dataset import CaptionedDataset, KeptDataSettings
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.splits import similarity_groups
from clipknight.ensemble.bands import FILE, cross_fitted_bands, fit_bands, principal_components
from clipknight.ensemble.blending import aligned_members, blend, cross_fitted, fit_weights, open_members
from clipknight.errors import user_errors
from clipknight.files import atomic_file
from clipknight.paths import OUTPUTS
from clipknight.ranges import Cosine, Folds, Name, NonNegative
from clipknight.settings import parse
from clipknight.training.runs import Run
from clipknight.training.settings import RunSettings

import numpy as np
import pandas as pd

METHODS = ("weights", "bands")


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings, KeptDataSettings):
    """Settings of blend.py"""

    members: list[str]
    """names of two runs or more"""
    run: Name = "ensemble"
    """name of the run: outputs/<run>"""
    method: Literal[METHODS] = "weights"
    """weights: one a member; bands: one a member and band of the targets' principal components"""
    weights: list[NonNegative] = field(default_factory=list)
    """one a member, instead of fitting them; scaled to sum 1"""
    folds: Folds = 5
    """parts of valid that are blended by what was fitted on the others"""
    similarity: Cosine = 0.7
    """images with captions of this cosine or more go to one fold"""


@user_errors
def main(argv=None) -> float:
    s = parse(Settings, argv, __doc__)
    if s.method != "weights" and s.weights:
        raise ValueError(f"--weights leave --method {s.method} nothing to fit: give one of the two")
    runs = open_members(s.members)
    if any(run.folder.resolve() == (OUTPUTS / s.run).resolve() for run in runs.values()):
        raise ValueError(f"--run {s.run!r} is one of the members: name the blend otherwise")
    given = given_weights(s)
    data = CaptionedDataset.of(s)
    train, valid = data.split("train"), data.split("valid")
    members = valid_predictions(runs, valid.dataset.ids)
    test = len(data.dataset.split("test"))
    test_members = aligned_members({name: run.predictions("test") for name, run in runs.items()}) if test else {}

    vectors = [member.vectors for member in members.values()]
    if given is None:
        target_sums = valid.mean_targets() * np.bincount(valid.image_of_caption)[:, None]
        groups = similarity_groups(valid.targets, valid.dataset.captions["id"].to_numpy(), s.similarity)
        groups = groups[valid.dataset.ids].to_numpy()
        blended, fold, fold_weights = cross_fitted(vectors, target_sums, groups, s.folds, s.seed)
        weights, fitted = fit_weights(vectors, target_sums), f"fitted on valid, {len(valid.dataset)} images"
        how = f"cross-fitted, {s.folds} folds"
    else:
        blended, weights, fitted, how = blend(vectors, given), given, "given", "given weights"
    equal = blend(vectors, np.full(len(vectors), 1 / len(vectors)))
    rows, combine, kind = blended, partial(blend, weights=weights), "blend"
    bands = None
    if s.method == "bands":
        components = principal_components(train.targets.vectors)
        rows, fold_bands = cross_fitted_bands(vectors, target_sums, components, fold)
        bands = fit_bands(vectors, target_sums, components)
        combine, kind = bands.predict, "bands"

    ids = valid.dataset.ids
    scores = {name: valid.avg_cos(member) for name, member in members.items()}
    best = max(scores, key=scores.get)
    score = valid.avg_cos(Embeddings(ids, rows))
    table = [(name, scores[name], weight) for name, weight in zip(members, weights)]
    mean = np.repeat(train.mean_targets().mean(axis=0, keepdims=True), len(ids), axis=0)
    table += [("mean training target", valid.avg_cos(Embeddings(ids, mean)), None)]  # the floor: one answer for all
    table += [("equal weights", valid.avg_cos(Embeddings(ids, equal)), None)]
    table += [(f"ensemble ({how})", valid.avg_cos(Embeddings(ids, blended)), None)]
    if bands:
        table += [(f"bands ({how})", score, None)]

    info = {"members": list(members), "weights": [float(w) for w in weights], "weights_from": fitted}
    run = Run.start(s.run, s, kind, overwrite=s.overwrite, **info)
    if bands:
        bands.save(run.folder / FILE)
    run.save_predictions("valid", Embeddings(ids, rows, {"run": run.name, "blended": how}))
    if test:
        test_rows = combine([member.vectors for member in test_members.values()])
        test_ids = next(iter(test_members.values())).ids
        run.save_predictions("test", Embeddings(test_ids, test_rows, {"run": run.name, **info}))
    with atomic_file(run.folder / "scores.csv") as temporary:
        pd.DataFrame(table, columns=["member", "avg_cos", "weight"]).to_csv(temporary, index=False)
    if given is None:
        for f, row in enumerate(fold_weights):
            by_band = {"bands": fold_bands[f].weights} if bands else {}
            run.log(fold=f, images=int((fold == f).sum()), weights=row.tolist(), **by_band)
    run.log(avg_cos=score)
    size = {"valid_images": len(ids), "valid_pairs": len(valid.targets)}
    run.finish(avg_cos=score, **size, members=scores, weights=dict(zip(members, info["weights"])))

    width = max(len(name) for name, _, _ in table)
    print(f"valid Avg-Cos over {len(valid.targets)} pairs, {len(ids)} images; weights {fitted}")
    for name, value, weight in table:
        print(f"  {name:<{width}}  {value:.4f}" + ("" if weight is None else f"  weight {weight:.3f}"))
    if given is None:
        spread = ", ".join(f"{n} {w.min():.3f} to {w.max():.3f}" for n, w in zip(members, fold_weights.T))
        print(f"  weights across folds: {spread}; images in folds: {', '.join(map(str, np.bincount(fold)))}")
    if bands:
        print("  bands: " + ", ".join(f"{name} {weights}" for name, weights in bands.weights.items()))
    print(f"gain over the best member ({best}): {score - scores[best]:+.4f} -> {run.folder}")
    return score


def given_weights(s: Settings) -> np.ndarray | None:
    """The user's weights at sum 1; None to fit them."""
    if not s.weights:
        return None
    weights = np.array(s.weights, dtype=float)
    if len(weights) != len(s.members) or not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum():
        raise ValueError(
            f"--weights {s.weights} for {len(s.members)} members: give each one weight, none negative, not all 0"
        )
    return weights / weights.sum()


def valid_predictions(runs: Mapping[str, Run], ids: np.ndarray) -> dict[str, Embeddings]:
    """The members' valid rows in the order of `ids`. KeyError when they were made on another split."""
    try:
        members = aligned_members({name: run.predictions("valid") for name, run in runs.items()})
        return {name: member.aligned_to(ids) for name, member in members.items()}
    except KeyError as error:
        raise KeyError(f"{error.args[0]}; were the members made with the same --data and --seed?") from None


if __name__ == "__main__":
    main()
