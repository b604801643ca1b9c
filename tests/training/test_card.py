"""The card of a run: read by the hub's own parser, and true."""

from clipknight.embedding.captioned_dataset import DataSettings
from clipknight.training.card import card_of
from clipknight.training.runs import Run

import pytest
from huggingface_hub import ModelCard


def test_it_is_written_when_a_run_is_finished_and_is_the_hubs(image_run):
    run = Run.open(image_run)
    card = ModelCard.load(run.folder / "README.md")
    about, result = card.data, card.data.eval_results[0]
    assert (about.library_name, about.license, about.pipeline_tag) == (
        "clipknight",
        "other",
        "image-feature-extraction",
    )
    assert about.tags == ["clipknight", "model-b"] and about.model_name == "b"
    score = run.info["summary"]["avg_cos"]
    assert (result.metric_type, result.metric_value) == ("avg_cos", round(score, 4))
    assert (result.dataset_name, result.dataset_split) == ("coloured", "valid")
    for words in (
        f"| avg_cos | {score:.4f} |",
        "train images 24",
        "valid pairs 40",
        "n_neighbors: 4",
        "torch ",
        "--run",
    ):
        assert words in card.text
    assert "## Limits" in card.text and "Not stated" in card.text


def test_nothing_of_the_makers_folders_is_in_it(image_run, coloured, colour_encoder):
    text = (Run.open(image_run).folder / "README.md").read_text(encoding="utf-8")
    assert str(coloured.parent) not in text and str(colour_encoder.parent) not in text and "data: coloured" in text


def test_a_blend_shows_its_members_and_an_owner_the_licence():
    run = Run.start("card/blend", DataSettings(data="input/x"), "blend", weights_from="fitted on valid, 8 images")
    run.finish(avg_cos=0.61234, valid_images=8, members={"a": 0.5, "b": 0.6}, weights={"a": 0.25, "b": 0.75})
    text = card_of(run, "FOLDER", "cc-by-4.0")
    assert "| b | 0.6000 | 0.750 |" in text and "weights fitted on valid, 8 images" in text and "0.6123" in text
    assert ModelCard(text).data.license == "cc-by-4.0" and "cc-by-4.0, as its maker states" in text


@pytest.mark.parametrize("kind", ["knight", "clip", ""])
def test_every_kind_has_one(kind):
    run = Run.start(f"card/{kind or 'none'}", DataSettings(data=""), kind)
    run.finish(score=1.5, CIDEr=1.5, text_loss=2.0, epoch=3)
    card = ModelCard.load(run.folder / "README.md")
    assert [result.metric_type for result in card.data.eval_results] == ["CIDEr", "text_loss"]
    assert (card.data.pipeline_tag == "image-to-text") == (kind == "knight") == ("gender and age" in card.text)
