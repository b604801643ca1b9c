"""One HTML page about an ensemble: score table, learning curves, and pictures with what each model says of them.

python src/report.py --data input/sample --run ensemble --out outputs/report.html
"""

from dataclasses import dataclass, field
from pathlib import Path

from clipknight.embedding.settings import KeptDataSettings, SkippingSettings
from clipknight.errors import parse_early, user_errors
from clipknight.paths import outputs
from clipknight.ranges import Few, Name
from clipknight.settings import parse


@dataclass(frozen=True, kw_only=True)
class Settings(SkippingSettings, KeptDataSettings):
    """Settings of report.py"""

    data: str = ""
    """dataset folder (or table); by default the ensemble's, with its columns"""
    run: Name = "ensemble"
    """an ensemble's run; its members are shown beside it"""
    out: Name = field(default_factory=lambda: str(outputs() / "report.html"))
    """the page to write"""
    pictures: Few = 24
    """how many to show"""
    captions: list[str] = field(default_factory=list)
    """JSON files of caption.py, whose pictures and videos are shown with what was said of them"""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.output_names import check_output
from clipknight.plots.ensemble_page import captioned, learning_curves, pictures, score_table, write_page
from clipknight.plots.error_analysis import image_scores
from clipknight.preparation import prepare_process
from clipknight.training.run_datasets import dataset_of, with_dataset_of
from clipknight.training.runs import Run


@user_errors
def main(argv=None) -> Path:
    s = parse(Settings, argv, __doc__)
    prepare_process()
    run = Run.open(s.run)
    check_output("--out", s.out, (".html", ".htm"), s.data or dataset_of(run).data, *s.captions, *run.files)
    if "members" not in run.info:
        raise ValueError(f"run {run.name!r} is no ensemble: --run names a run of blend.py, whose members are shown too")
    data = CaptionedDataset.of(with_dataset_of([run], s))
    train, valid = data.split("train"), data.split("valid")
    runs = [*(Run.open(str(name)) for name in run.info["members"]), run]
    predictions = {r.name: r.predictions("valid").aligned_to(valid.dataset.ids) for r in runs}
    cosines = image_scores(predictions, valid)

    write_page(
        s.out,
        title=f"{data.dataset.name}: {run.name}",
        summary=data.dataset.summary(),
        synthetic=(data.dataset.root / "sample.json").is_file(),
        split=f"valid, {len(valid.dataset)} images, {len(valid.targets)} captions",
        scores=score_table(run),
        curves=learning_curves(runs[:-1]),
        sections=[{"name": Path(file).stem, "captioned": captioned(file, s.pictures)} for file in s.captions],
        pictures=pictures(train, valid, predictions, cosines, s.pictures),
    )
    print(f"report: {s.out}")
    return Path(s.out)


if __name__ == "__main__":
    main()
