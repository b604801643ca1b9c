import pack
from clipknight.data.datasets import read_dataset
from clipknight.embedding.cache import image_embeddings
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.clip import load_clip
from clipknight.embedding.embeddings import UNRECOGNISED, unit
from clipknight.embedding.target_encoder import load_target_encoder
from clipknight.ensemble.predictors import load_predictor
from clipknight.training.runs import Run
from recognise import main

import numpy as np
import pytest
import timm
import tiny_models
import torch
from timm.models import save_for_hf


@pytest.fixture(scope="module")
def argv(coloured, colour_clip, colour_encoder, tmp_path_factory):
    words = tmp_path_factory.mktemp("vocabulary") / "colours.txt"
    words.write_text("\n".join(tiny_models.COLOURS), encoding="utf-8")

    def flags(run, *more):
        named = {"data": coloured, "encoder": colour_clip, "target_encoder": colour_encoder, "vocabulary": words}
        options = {"precision": "fp32", "device": "cpu", "workers": 0, "run": f"concepts/{run}"}
        return [*(f"--{name}={value}" for name, value in {**named, **options}.items()), *more]

    return flags


def test_a_clip_recognises_the_words_of_a_vocabulary(argv, coloured, colour_clip, colour_encoder):
    score = main(argv("colours", "--top=1", "--prompt={}"))
    run, data = Run.open("concepts/colours"), CaptionedDataset.read(coloured, str(colour_encoder), "cpu")
    valid = data.split("valid")
    assert run.finished and run.kind == "concepts"
    assert score == valid.avg_cos(run.predictions("valid")) == run.info["summary"]["avg_cos"]
    # By hand: the target of the one word that is nearest to a picture in the CLIP's space.
    encoder, target_encoder = (
        load_clip(str(colour_clip), "cpu", "fp32"),
        load_target_encoder(str(colour_encoder), "cpu"),
    )
    words = encoder.encode_captions(list(tiny_models.COLOURS))
    images = image_embeddings(encoder, valid.dataset, workers=0)
    expected = target_encoder.encode(list(tiny_models.COLOURS))[np.argmax(images.vectors @ words.T, axis=1)]
    np.testing.assert_allclose(unit(run.predictions("valid").vectors), unit(expected), atol=1e-5)


def test_captions_near_a_concept_stand_for_it(argv, colour_encoder, tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("a red thing\na red one\n", encoding="utf-8")
    main(argv("captions", f"--corpus={corpus}", "--corpus_neighbors=9"))
    rows = unit(Run.open("concepts/captions").predictions("valid").vectors)
    captions = unit(load_target_encoder(str(colour_encoder), "cpu").encode(["a red thing", "a red one"]))
    assert np.ptp(rows, axis=0).max() < 0.05 and (rows @ captions.mean(axis=0)).min() > 0.95


def test_the_run_predicts_again(argv, coloured, colour_encoder):
    main(argv("again"))
    run, data = Run.open("concepts/again"), CaptionedDataset.read(coloured, str(colour_encoder), "cpu")
    rows = load_predictor(run, "cpu").predict(data.dataset.split("valid"), workers=0)
    np.testing.assert_array_equal(rows.vectors, run.predictions("valid").aligned_to(rows.ids).vectors)


def test_the_rarest_of_the_valid_images_count_as_unknown(argv):
    shares = {}
    for rare in (0, 0.4):
        main(argv(f"rare{rare}", f"--rare={rare}"))
        rows = Run.open(f"concepts/rare{rare}").predictions("valid").vectors
        shares[rare] = float((np.linalg.norm(rows, axis=1) < 2 * UNRECOGNISED).mean())
    assert shares[0] == 0 and shares[0.4] == pytest.approx(0.4, abs=0.11)


def test_an_encoder_without_a_classifier_needs_a_vocabulary(argv):
    with pytest.raises(SystemExit, match="has no classifier"):
        main(argv("none", "--vocabulary="))


def test_a_prompt_has_a_place_for_the_concept(argv):
    with pytest.raises(SystemExit, match="has no {}, where the concept goes"):
        main(argv("prompt", "--prompt=a photo"))


def test_a_classifier_of_timms(argv, coloured, tmp_path):
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=3)
    save_for_hf(model, tmp_path / "model", model_config={"num_classes": 3}, safe_serialization=True)
    labels = tmp_path / "labels.txt"
    labels.write_text("red\ngreen\nblue\n", encoding="utf-8")
    main(argv("timm", f"--encoder={tmp_path / 'model'}@64", f"--vocabulary={labels}"))
    run = Run.open("concepts/timm")
    assert run.info["summary"]["concepts"] == 3
    valid = read_dataset(coloured).split("valid")
    rows = load_predictor(run, "cpu").predict(valid, workers=0)
    np.testing.assert_array_equal(rows.vectors, run.predictions("valid").aligned_to(rows.ids).vectors)

    pack.main(["--run=concepts/timm", f"--out={tmp_path / 'pack'}", "--device=cpu"])
    packed = load_predictor(Run.open(str(tmp_path / "pack")), "cpu").predict(valid, workers=0)
    np.testing.assert_allclose(packed.vectors, rows.vectors, atol=1e-5)
