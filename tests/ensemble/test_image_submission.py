import shutil

import predict
from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.ensemble.image_submission import submit_images
from clipknight.ensemble.submission import read_submission

import numpy as np
import pytest


class Sizes:
    """Predicts from the sizes of files; an empty one is unreadable."""

    def predict(self, dataset, batch_size=64, workers=2, skip_unreadable=False):
        sizes = {id: len(open(path, "rb").read()) for id, path in zip(dataset.ids, dataset.images["path"], strict=True)}
        read = [id for id in dataset.ids if sizes[id]]
        assert skip_unreadable or len(read) == len(sizes)
        return Embeddings(np.array(read), np.array([[sizes[id], 1] for id in read], np.float32))


@pytest.fixture
def kaggle(tmp_path):
    """Images in a folder below, one not asked for, one unreadable, one missing; the sample is in no order."""
    (tmp_path / "input" / "images").mkdir(parents=True)
    for name, size in {"b": 3, "a": 1, "other": 9, "empty": 0}.items():
        (tmp_path / "input" / "images" / f"{name}.png").write_bytes(b"x" * size)
    rows = [f"{id}_{n},0" for id in ("b", "gone", "a", "empty") for n in (0, 1)]
    (tmp_path / "sample.csv").write_text("\n".join(["imgId_eId,val", *rows, ""]), encoding="utf-8")
    return tmp_path


def test_what_is_asked_for_is_written_in_its_order_and_the_rest_filled(kaggle):
    done = submit_images(Sizes(), kaggle / "input", kaggle / "sample.csv", kaggle / "s.csv", "mean")
    assert (done.images, done.dim, done.missing, done.unreadable) == (4, 2, 1, 1)
    written = read_submission(kaggle / "s.csv")
    assert written.ids.tolist() == ["b", "gone", "a", "empty"]
    b, a = unit(np.array([[3.0, 1], [1, 1]]))
    mean = unit((a + b) / 2)
    np.testing.assert_allclose(written.vectors, [b, mean, a, mean], atol=1e-6)


def test_nothing_is_filled_unasked(kaggle):
    words = (Sizes(), kaggle / "input", kaggle / "sample.csv", kaggle / "s.csv")
    with pytest.raises(ValueError, match="1 of 4 images asked for are not in .*input: gone; --fill_missing mean gives"):
        submit_images(*words)
    (kaggle / "input" / "images" / "gone.png").write_bytes(b"xx")
    with pytest.raises(ValueError, match="1 of 4 images asked for cannot be read in .*input: empty; --fill_missing"):
        submit_images(*words)
    assert not (kaggle / "s.csv").exists()


def test_a_folder_without_the_images_and_one_that_has_them_twice(kaggle):
    words = (kaggle / "sample.csv", kaggle / "s.csv", "mean")
    (kaggle / "elsewhere").mkdir()
    shutil.copy(kaggle / "input" / "images" / "other.png", kaggle / "elsewhere")
    with pytest.raises(FileNotFoundError, match="none of the 4 images asked for is in .*elsewhere, such as b, gone, a"):
        submit_images(Sizes(), kaggle / "elsewhere", *words)
    shutil.copytree(kaggle / "input" / "images", kaggle / "input" / "copies")
    with pytest.raises(ValueError, match="has an image asked for more than once: "):
        submit_images(Sizes(), kaggle / "input", *words)


def test_predict_writes_a_submission(coloured, image_run, tmp_path, capsys):
    shutil.copytree(coloured / "Images", tmp_path / "images", ignore=shutil.ignore_patterns("train*", "dev*"))
    (tmp_path / "images" / "test01.png").write_bytes(b"no picture")
    rows = "".join(f"test0{i}_{n},0\n" for i in (5, 3, 1) for n in range(24))
    (tmp_path / "sample.csv").write_text(f"imgId_eId,val\n{rows}", encoding="utf-8")
    words = [f"--run={image_run}", f"--images={tmp_path / 'images'}", f"--sample={tmp_path / 'sample.csv'}"]
    words += [f"--out={tmp_path / 's.csv'}", "--device=cpu", "--workers=0"]
    with pytest.raises(SystemExit, match="cannot be read in .*: test01; --fill_missing mean"):
        predict.main(words)
    predict.main([*words, "--fill_missing=mean"])
    assert read_submission(tmp_path / "s.csv").ids.tolist() == ["test05", "test03", "test01"]
    printed = capsys.readouterr().out
    assert "72 rows, 3 images x 24" in printed and "; 0 missing and 1 unreadable ones have the mean" in printed
    for wrong in (["--csv=x.csv"], ["--out=folder.txt"]):
        with pytest.raises(SystemExit, match="--out"):
            predict.main([*words, *wrong])
    with pytest.raises(SystemExit, match="--fill_missing belongs to it"):
        predict.main([f"--run={image_run}", f"--images={tmp_path}", "--fill_missing=mean", "--out=o"])
