from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.ensemble.knn import DistanceWeightedKNN
from clipknight.ensemble.predictors import load_predictor
from clipknight.training.runs import Run
from refine import main

import numpy as np
import pytest


@pytest.fixture(scope="module")
def argv(coloured, colour_encoder, image_run):
    def flags(run, *more):
        named = {"data": coloured, "target_encoder": colour_encoder, "from": image_run, "run": f"refined/{run}"}
        return [*(f"--{name}={value}" for name, value in named.items()), "--device=cpu", *more]

    return flags


@pytest.fixture(scope="module")
def data(coloured, colour_encoder):
    return CaptionedDataset.read(coloured, str(colour_encoder), "cpu")


def test_each_row_becomes_the_mean_of_the_training_captions_near_it(argv, data, image_run):
    score = main(argv("own", "--n_neighbors=5"))
    run, source = Run.open("refined/own"), Run.open(image_run)
    captions = data.split("train").targets.vectors
    expected = (
        DistanceWeightedKNN(5, unit_output=False).fit(captions, captions).predict(source.predictions("valid").vectors)
    )
    np.testing.assert_allclose(run.predictions("valid").vectors, expected, atol=1e-6)
    assert score == data.split("valid").avg_cos(run.predictions("valid"))
    assert run.predictions("test").ids.tolist() == source.predictions("test").ids.tolist()


def test_what_predictions_have_in_common_is_taken_off_first(argv, data, image_run):
    main(argv("centred", "--n_neighbors=5", "--centre=0.5"))
    run, rows = Run.open("refined/centred"), Run.open(image_run).predictions("valid").vectors
    captions = data.split("train").targets.vectors
    knn = DistanceWeightedKNN(5, unit_output=False).fit(captions, captions)
    expected = knn.predict(rows - 0.5 * rows.mean(axis=0))
    np.testing.assert_allclose(run.predictions("valid").vectors, expected, atol=1e-5)
    again = load_predictor(run, "cpu").predict(data.dataset.split("valid"), workers=0)
    np.testing.assert_allclose(again.vectors, run.predictions("valid").aligned_to(again.ids).vectors, atol=1e-5)


def test_other_captions_are_those_of_another_domain(argv, data, tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("a red thing\na red one\n", encoding="utf-8")
    main(argv("red", f"--corpus={corpus}"))
    rows = Run.open("refined/red").predictions("valid").vectors
    assert np.ptp(rows, axis=0).max() < 0.05  # whatever it shows, all that can be said is red


def test_the_run_predicts_new_images_through_its_source(argv, data):
    main(argv("again", "--n_neighbors=5"))
    run = Run.open("refined/again")
    rows = load_predictor(run, "cpu").predict(data.dataset.split("valid"), workers=0)
    np.testing.assert_allclose(rows.vectors, run.predictions("valid").aligned_to(rows.ids).vectors, atol=1e-6)


def test_a_broken_memory_is_made_again_by_the_same_script(argv):
    main(argv("broken", "--n_neighbors=5"))
    run = Run.open("refined/broken")
    (run.folder / "best" / "keys.npy").write_bytes(b"")
    with pytest.raises(ValueError, match="keys.npy.*as src/refine.py --overwrite does"):
        load_predictor(run, "cpu")


def test_a_run_does_not_refine_itself(argv, image_run):
    with pytest.raises(SystemExit, match="is the run that is refined"):
        main([*argv("own"), f"--run={image_run}", "--overwrite"])


def test_the_space_must_be_the_sources(argv, tiny_target_encoder):
    with pytest.raises(SystemExit, match="give --target_encoder"):
        main(argv("other", f"--target_encoder={tiny_target_encoder}"))
