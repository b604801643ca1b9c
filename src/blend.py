"""Blend the predictions of any number of runs into an ensemble.

The weights are fitted on valid, which no member may have trained on (a member that did gets more weight than it earns,
and no score printed here can tell). The ensemble's score is cross-fitted: each image is blended by weights fitted on
folds that hold neither it nor an image with similar captions. Those out-of-fold rows are the run's valid predictions;
its test predictions, and `predict.py`, use the weights fitted on all of valid. `--method bands` fits a weight for each
member and band of the targets' principal components, in the same way; `--method gate` finds the weights of each image
from how sure the members are of it and how they agree, and says how good the blend will be there. The table shows what
either gains. `--also` joins images of another dataset to valid, so that a blend may suit photos of several kinds.

    python src/blend.py --members a b --run ensemble                                    # on the members' own dataset
    python src/blend.py --data input/flickr8k --members a b --method bands --run by_bands
    python src/blend.py --data input/flickr8k --members a b --weights 0.6 0.4 --run sixty_forty
    python src/blend.py --members a refined b --method gate --also input/coco_photos --run any_photo
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from clipknight.devices import WorkerSettings
from clipknight.embedding.settings import KeptDataSettings, SkippingSettings
from clipknight.errors import parse_early, user_errors
from clipknight.ranges import Cosine, Folds, Name, NonNegative
from clipknight.settings import parse
from clipknight.training.settings import RunSettings

METHODS = ("weights", "bands", "gate")


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings, WorkerSettings, SkippingSettings, KeptDataSettings):
    """Settings of blend.py"""

    data: str = ""
    """dataset folder (or table); by default the members', with its columns"""
    members: list[str]
    """names of two runs or more"""
    run: Name = "ensemble"
    """name of the run: outputs/<run>"""
    method: Literal[METHODS] = "weights"
    """weights: one a member; bands: one a member and band of the targets' principal components; gate: those that the
    members' own rows speak for, of each image anew"""
    also: list[str] = field(default_factory=list)
    """further datasets, all captioned images of which join valid; to a gate each dataset counts as much"""
    weights: list[NonNegative] = field(default_factory=list)
    """one a member, instead of fitting them; scaled to sum 1"""
    folds: Folds = 5
    """parts of valid that are blended by what was fitted on the others"""
    similarity: Cosine = 0.7
    """images with captions of this cosine or more go to one fold"""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from clipknight.embedding.captioned_dataset import CaptionedDataset, captioned_images, joined
from clipknight.embedding.embeddings import Embeddings
from clipknight.ensemble.fitted_blend import FittedBlend, fit_blend, score_table, with_bands, with_gate, with_weights
from clipknight.ensemble.members import aligned_members, open_members, predicted_too, valid_predictions
from clipknight.files import atomic_file
from clipknight.preparation import prepare_process
from clipknight.training.run_datasets import description, with_dataset_of
from clipknight.training.runs import Run
from clipknight.waiting import waiting

import numpy as np
import pandas as pd


@user_errors
def main(argv=None) -> float:
    s = parse(Settings, argv, __doc__)
    prepare_process()
    if s.method != "weights" and s.weights:
        raise ValueError(f"--weights leave --method {s.method} nothing to fit: give one of the two")
    given = given_weights(s)
    runs = open_members(s.members)
    if any(run.folder.resolve() == Run.at(s.run).folder.resolve() for run in runs.values()):
        raise ValueError(f"--run {s.run!r} is one of the members: name the blend otherwise")
    Run.at(s.run).refuse_unless_free(overwrite=s.overwrite)
    made_on = with_dataset_of(list(runs.values()), s)
    data = CaptionedDataset.of(made_on)
    train, parts = data.split("train"), [data.split("valid")]
    parts += [captioned_images(place, made_on) for place in s.also]
    valid = joined(parts)
    members = valid_predictions(runs, parts[0].dataset.ids, valid.dataset.ids[len(parts[0].dataset) :])
    for part in parts[1:]:
        members = predicted_too(members, runs, part.dataset, s.device, s.workers)
    test = len(data.dataset.split("test"))
    test_members = aligned_members({name: run.predictions("test") for name, run in runs.items()}) if test else {}

    vectors = [member.vectors for member in members.values()]
    if given is not None:
        fitted = with_weights(vectors, given)
    else:
        with waiting(f"fitting the weights on {s.folds} folds"):
            fitted = fit_blend(vectors, valid, s.folds, s.similarity, s.seed)
            if s.method == "bands":
                fitted = with_bands(fitted, vectors, train, valid)
            elif s.method == "gate":
                each_as_much = np.concatenate([np.full(len(part.dataset), 1 / len(part.dataset)) for part in parts])
                fitted = with_gate(fitted, vectors, valid, each_as_much)
    table = score_table(fitted, members, train, valid)

    run = save(fitted, members, test_members, table, parts, s, description(made_on))
    show(fitted, table, list(members), valid, run)
    return run.info["summary"]["avg_cos"]


def save(
    fitted: FittedBlend,
    members: Mapping[str, Embeddings],
    test_members: Mapping[str, Embeddings],
    table: pd.DataFrame,
    parts: Sequence[CaptionedDataset],
    s: Settings,
    dataset: dict,
) -> Run:
    """The run: its weights, out-of-fold rows of valid, rows of test by what was fitted on all of valid, scores."""
    ids, weights = next(iter(members.values())).ids, [float(weight) for weight in fitted.weights]
    info = {"members": list(members), "weights": weights, "weights_from": fitted.origin}
    run = Run.start(s.run, s, fitted.kind, overwrite=s.overwrite, **info, dataset=dataset)
    if fitted.mixer:
        fitted.mixer.save(run.folder / fitted.mixer.file)
    notes = {"run": run.name, "blended": fitted.fitting, **fitted.notes}
    run.save_predictions("valid", valid := Embeddings(ids, fitted.rows, notes))
    if test_members:
        rows = fitted.predict([member.vectors for member in test_members.values()])
        test_ids = next(iter(test_members.values())).ids
        run.save_predictions("test", Embeddings(test_ids, rows, {"run": run.name, **info, **fitted.notes}))
    with atomic_file(run.folder / "scores.csv") as temporary:
        table.to_csv(temporary, index=False)
    for f, row in enumerate(() if fitted.fold is None else fitted.fold_weights):
        mixed = {fitted.kind: fitted.fold_mixers[f].weights} if fitted.mixer else {}
        run.log(fold=f, images=int((fitted.fold == f).sum()), weights=row.tolist(), **mixed)
    score = float(table["avg_cos"].iloc[-1])
    run.log(avg_cos=score)
    scores = dict(zip(members, table["avg_cos"].tolist()))
    counts = {"valid_images": len(ids), "valid_pairs": sum(len(part.targets) for part in parts)}
    by_dataset = {part.dataset.name: part.avg_cos(valid) for part in parts} if s.also else {}
    more = {"members": scores, "weights": dict(zip(members, weights)), "by_dataset": by_dataset}
    run.finish(avg_cos=score, **counts, **{name: value for name, value in more.items() if value})
    return run


def show(fitted: FittedBlend, table: pd.DataFrame, members: list[str], valid: CaptionedDataset, run: Run) -> None:
    """Print the score table, how far the folds' weights differ, and what blending gains."""
    width = table["member"].str.len().max()
    print(f"valid Avg-Cos over {len(valid.targets)} pairs, {len(valid.dataset)} images; weights {fitted.origin}")
    for name, value, weight, lead, error in table.itertuples(index=False):
        behind = "" if np.isnan(lead) else f"  {-lead:+.4f} ± {error:.4f}"
        print(f"  {name:<{width}}  {value:.4f}{behind}" + ("" if np.isnan(weight) else f"  weight {weight:.3f}"))
    print("  (± is the standard error over the images of what a row lacks to the last one)")
    if fitted.fold is not None:
        spread = ", ".join(f"{n} {w.min():.3f} to {w.max():.3f}" for n, w in zip(members, fitted.fold_weights.T))
        print(f"  weights across folds: {spread}; images in folds: {', '.join(map(str, np.bincount(fitted.fold)))}")
    if fitted.mixer:
        found = ", ".join(f"{name} {weights}" for name, weights in fitted.mixer.weights.items())
        print(f"  {fitted.kind}: {found}")
    for name, value in run.info["summary"].get("by_dataset", {}).items():
        print(f"  the blend on {name}: {value:.4f}")
    best = table[: len(members)].loc[table["avg_cos"][: len(members)].idxmax()]
    gain = table["avg_cos"].iloc[-1] - best["avg_cos"]
    print(f"gain over the best member ({best['member']}): {gain:+.4f} -> {run.folder}")


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


if __name__ == "__main__":
    main()
