"""Radiographs and their reports, as IU X-Ray has them: several sentences, two images a report, most nearly the same."""

import csv
import json

import score
import train_b
from clipknight.data.datasets import read_dataset
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.training.runs import Run

import pytest
import tiny_models
from PIL import Image

STUDIES = 30


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory):
    """images/1_frontal.png, 1_lateral.png, ..., and reports.csv with a row an image."""
    folder = tmp_path_factory.mktemp("reports") / "xray"
    (folder / "images").mkdir(parents=True)
    rows = []
    for study in range(STUDIES):
        for view in ("frontal", "lateral"):
            name = f"{study}_{view}.png"
            colour = list(tiny_models.COLOURS.values())[study % len(tiny_models.COLOURS)]
            Image.new("RGB", (40, 40), colour).save(folder / "images" / name)
            rows.append((name, report(study)))
    with open(folder / "reports.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "caption"), *rows])
    return folder


def report(study: int) -> str:
    findings = (
        "The red silhouette, XXXX and mediastinum are within normal limits. " * 12
    )  # a word that the encoder knows
    return f'{findings}\nThere is no "focal" disease; study {study} was read twice.\r\nIMPRESSION: 1. Normal chest.'


def test_they_are_read_and_split_by_report(radiographs, colour_encoder):
    data = read_dataset(radiographs)
    assert len(data) == 2 * STUDIES and data.caption_lists()["7_lateral"] == [report(7)]
    images = CaptionedDataset.read(radiographs, str(colour_encoder), "cpu").dataset.images
    splits = images.groupby(images["id"].str.partition("_")[0])["split"].agg(set)
    assert splits.map(len).eq(1).all() and set().union(*splits) == {"train", "valid", "test"}


@pytest.mark.slow
def test_they_are_learned_from_and_scored(radiographs, tiny_clip, colour_encoder, tmp_path):
    words = {"data": radiographs, "encoder": tiny_clip, "target_encoder": colour_encoder, "run": "reports/b"}
    words |= {"n_neighbors": 4, "precision": "fp32", "device": "cpu", "workers": 0}
    train_b.main([f"--{name}={value}" for name, value in words.items()])
    valid = Run.open("reports/b").predictions("valid").ids
    said = [{"image_id": f"{i}.png", "caption": report(int(i.partition("_")[0]))} for i in valid]
    (tmp_path / "said.json").write_text(json.dumps(said), encoding="utf-8")
    files = [f"--candidates={tmp_path / 'said.json'}", f"--references={radiographs / 'reports.csv'}"]
    found = score.main(["captions", *files, "--allow_partial", "--metrics", "Bleu", "METEOR", "ROUGE_L"])
    assert found["images"] == len(valid) and found["Bleu_4"] == pytest.approx(1) and found["METEOR"] == pytest.approx(1)
