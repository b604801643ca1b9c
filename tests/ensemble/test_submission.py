from dataclasses import make_dataclass

import predict
import submit
from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.ensemble import submission_rows
from clipknight.ensemble.submission import check_written, read_submission, write_submission
from clipknight.ensemble.submission_rows import sample_ids
from clipknight.training.runs import Run

import numpy as np
import pytest


def embeddings(ids, dim=384, seed=0):
    return Embeddings(
        np.array(ids, dtype=object), np.random.default_rng(seed).standard_normal((len(ids), dim)).astype(np.float32)
    )


def text(path, *lines, header="imgId_eId,val"):
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return path


def test_the_lines_are_exact(tmp_path):
    vectors = np.array([[3, 4], [0, -2], [1e-5, 1]], dtype=np.float32)
    write_submission(Embeddings(np.array(["b_1", "a", "B"]), vectors), tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text(encoding="utf-8").splitlines() == [
        "imgId_eId,val",
        "B_0,0.00001",
        "B_1,1",
        "a_0,0",
        "a_1,-1",
        "b_1_0,0.6",
        "b_1_1,0.8",
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["s.csv"]


def test_round_trip_over_many_chunks(tmp_path):
    ids = [f"{i * 7919:x}_{i}" for i in range(1500)] + ["a,b", "sub/ä", "x_007"]
    written = embeddings(ids)
    write_submission(written, tmp_path / "s.csv")
    lines = (tmp_path / "s.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1503 * 384 + 1 and lines[1].startswith(f"{min(ids)}_0,")
    assert lines[384].startswith(f"{min(ids)}_383,") and lines[-1].startswith(f"{max(ids)}_383,")
    read = read_submission(tmp_path / "s.csv")
    assert read.ids.tolist() == sorted(ids)
    np.testing.assert_array_equal(read.aligned_to(ids).vectors, unit(written.vectors.astype(np.float64)).astype("f4"))


def test_what_cannot_be_written_leaves_the_old_file(tmp_path):
    path = text(tmp_path / "s.csv", "old_0,1")
    with pytest.raises(ValueError, match="1 of 2 predictions are zero vectors: b"):
        write_submission(Embeddings(np.array(["a", "b"]), np.array([[1, 0], [0, 0]], np.float32)), path)
    assert "old_0" in path.read_text(encoding="utf-8") and len(list(tmp_path.iterdir())) == 1


def test_rows_in_any_order_are_read(tmp_path):
    read = read_submission(text(tmp_path / "s.csv", "b_1_1,4", "a_0,1", "b_1_0,3", "a_1,2"))
    assert read.ids.tolist() == ["b_1", "a"]
    np.testing.assert_array_equal(read.vectors, [[3, 4], [1, 2]])


@pytest.mark.parametrize(
    "lines, message",
    [
        (["a_0,1", "a_1,nan"], "line 3: the value of a_1 is nan"),
        (["a_0,inf", "a_1,1"], "line 2: the value of a_0 is inf"),
        (["a_0,1", "a_1,"], "s.csv, line 3: the value of a_1 is '', no number"),
        (["a_0,1", "a_1,x"], "s.csv, line 3: the value of a_1 is 'x', no number"),
        (["a_0,1", "", '"a,1",,1'], "s.csv, line 4: 3 fields, not 2: a,1,,1"),
        (["a_0,1", "a1,1"], "line 3: 'a1' is not <imgId>_<number>"),
        (["a_0,1", "a_01,1"], "line 3: 'a_01'"),
        (["a_0,1", "a_1,1", "a_0,2"], "line 4: a_0 is given a second time"),
        (["a_0,1", "a_1,1", "b_1,2"], "1 of 2 images lack rows: 'b' has 1 of 2, without 0 "),
        (["a_0,1", "a_1,1", "b_0,2"], "1 of 2 images lack rows: 'b' has 1 of 2, without 1 "),
        (["a_0,1", "a_99999999,1"], r"lack rows: 'a' has 2 of 100000000, without 1, .*line 3 has number 99999999"),
        ([], "header and no rows"),
    ],
)
def test_a_broken_submission_names_the_place(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        read_submission(text(tmp_path / "s.csv", *lines))


def test_a_wrong_header_is_refused(tmp_path):
    with pytest.raises(ValueError, match="header is 'id,val', not 'imgId_eId,val'"):
        read_submission(text(tmp_path / "s.csv", "a_0,1", header="id,val"))


def test_the_sample_says_which_rows(tmp_path):
    sample = text(tmp_path / "sample.csv", "a_0,0", "a_1,0", "b_0,0", "b_1,0")
    assert sample_ids(sample).tolist() == ["a", "b"]
    write_submission(embeddings(["b", "a"], dim=2), tmp_path / "s.csv", sample)
    twice = text(tmp_path / "twice.csv", "a_0,0", "a_1,0", "b_0,0", "b_1,0", "b_1,0")
    for wrong, asked, message in [
        (
            embeddings(["a", "c"], dim=2),
            sample,
            "2 rows are missing, such as b_0, b_1; 2 rows are not asked for, such as c_0, c_1",
        ),
        (embeddings(["a", "b"], dim=3), sample, "2 rows are not asked for, such as a_2, b_2"),
        (embeddings(["a", "b"], dim=2), twice, "4 rows, not 5: the sample gives some twice"),
        (embeddings(["a"], dim=2), text(tmp_path / "none.csv"), "has a header and no rows"),
    ]:
        with pytest.raises(ValueError, match=message):
            write_submission(wrong, tmp_path / "s.csv", asked)
    check_written(embeddings(["b", "a"], dim=2), tmp_path / "s.csv")  # the old file stays


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda lines: lines[:-1], "lacks 1 of the rows"),
        (lambda lines: [*lines, lines[-1]], "has rows that were not written"),
        (lambda lines: [*lines[:-1], "c_1,0.5"], "has rows that were not written"),
        (lambda lines: [*lines[:-1], f"{lines[-1].partition(',')[0]},0.5"], "does not read back"),
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_found(tmp_path, change, message, monkeypatch):
    monkeypatch.setattr(submission_rows, "BLOCK_BYTES", 40)  # a few rows at a time
    predicted = embeddings(["a", "b", "d"], dim=2)
    write_submission(predicted, tmp_path / "s.csv")
    check_written(predicted, tmp_path / "s.csv")
    header, *lines = (tmp_path / "s.csv").read_text(encoding="utf-8").splitlines()
    with pytest.raises(ValueError, match=message):
        check_written(predicted, text(tmp_path / "s.csv", *change(lines)))


def test_a_name_that_is_none_deep_in_a_large_sample_has_its_line(tmp_path, monkeypatch):
    monkeypatch.setattr(submission_rows, "BLOCK_BYTES", 60)
    sample = text(tmp_path / "sample.csv", *(f"a_{n},0" for n in range(50)), "a50,0")
    with pytest.raises(ValueError, match="line 52: 'a50' is not <imgId>_<number>"):
        sample_ids(sample)


def test_only_ids_that_need_it_are_quoted(tmp_path):
    ids = ["a,b", "c", 'd"e', "f\ng", "h\ri"]
    write_submission(Embeddings(np.array(ids), np.ones((5, 1), np.float32)), tmp_path / "s.csv")
    written = (tmp_path / "s.csv").read_bytes().decode()
    assert written == 'imgId_eId,val\n"a,b_0",1\nc_0,1\n"d""e_0",1\n"f\ng_0",1\n"h\ri_0",1\n'
    assert read_submission(tmp_path / "s.csv").ids.tolist() == ids


@pytest.mark.parametrize("order", [["9", "10", "100"], ["100", "9", "10"]])
def test_a_sample_in_any_order_is_served_in_its_order(tmp_path, order, monkeypatch):
    monkeypatch.setattr(submission_rows, "BLOCK_BYTES", 40)
    rows = [f"{i}_{n}" for i in order for n in (0, 1)]
    rows[0], rows[-1] = rows[-1], rows[0]  # not even one image after the other
    sample = text(tmp_path / "sample.csv", *(f"{row},0" for row in rows))
    predicted = embeddings(["10", "100", "9"], dim=2)
    write_submission(predicted, tmp_path / "s.csv", sample)
    assert [
        line.partition(",")[0] for line in (tmp_path / "s.csv").read_text(encoding="utf-8").splitlines()[1:]
    ] == rows
    read = read_submission(tmp_path / "s.csv").aligned_to(predicted.ids)
    np.testing.assert_allclose(read.vectors, unit(predicted.vectors), atol=1e-6)


def test_a_submission_is_csv_however_it_is_written(tmp_path):
    plain = read_submission(text(tmp_path / "s.csv", "a_0,1", "a_1,2"))
    (tmp_path / "t.csv").write_bytes(b'\xef\xbb\xbf"imgId_eId","val"\r\n"a_0","1"\r\n"a_1",2e0\r\n')
    quoted = read_submission(tmp_path / "t.csv")
    assert quoted.ids.tolist() == ["a"] and np.array_equal(quoted.vectors, plain.vectors)


@pytest.mark.parametrize(
    "content", [b"imgId_eId;val\na_0;1\n", "imgId_eId,val\na_0,1\n".encode("utf-16"), b"\x7fELF\x08"]
)
def test_another_form_or_encoding_is_refused_shortly(tmp_path, content):
    (tmp_path / "s.csv").write_bytes(content)
    with pytest.raises(ValueError, match="s.csv: the header is .*not 'imgId_eId,val', as UTF-8 with a comma") as error:
        read_submission(tmp_path / "s.csv")
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("start", [b"\x1f\x8b\x08", b"PK\3\4"])
def test_a_packed_submission_is_to_be_unpacked(tmp_path, start):
    (tmp_path / "s.csv").write_bytes(start)
    with pytest.raises(ValueError, match="s.csv is packed .*: unpack it, or save it as text"):
        read_submission(tmp_path / "s.csv")


# Scripts


@pytest.fixture
def run(tmp_path):
    """A run on `tmp_path/data`, a competition folder that asks for three images: two are predicted, and another."""
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    for name in "abc":
        (data / "images" / f"{name}.png").touch()
    (data / "sample_submission.csv").write_text(
        "imgId_eId,val\n" + "".join(f"{i}_{n},0\n" for i in "abc" for n in (0, 1)), encoding="utf-8"
    )
    run = Run.start(str(tmp_path / "run"), make_dataclass("Settings", [("data", str)])(str(data)), members=["a", "b"])
    run.save_predictions("test", Embeddings(np.array(["c", "x", "a"]), np.array([[0, 2], [5, 0], [4, 0]], np.float32)))
    return run


def test_submit_refuses_missing_images_and_fills_them_when_asked(run, tmp_path, capsys):
    argv = ["--run", str(run.folder), "--out", str(tmp_path / "s.csv")]
    with pytest.raises(SystemExit, match=r"1 of 3 images have no prediction in 'test': b; .*--fill_missing mean"):
        submit.main(argv)
    assert not (tmp_path / "s.csv").exists()
    submit.main([*argv, "--fill_missing", "mean"])
    written = read_submission(tmp_path / "s.csv")
    assert written.ids.tolist() == ["a", "b", "c"]
    mean = np.array([2, 1]) / 5**0.5
    np.testing.assert_allclose(written.vectors, [[1, 0], mean, [0, 1]], rtol=1e-6)
    said = capsys.readouterr().out
    assert "filled with the mean prediction: 1 images: b" in said and "left out: 1 predicted images" in said
    assert "6 rows, 3 images x 2, the rows of sample_submission.csv in its order" in said


def test_images_that_the_dataset_lacks_are_not_to_be_predicted(run):
    rows, s = run.predictions("test"), submit.Settings()
    with pytest.raises(ValueError, match="1 of 2 .* in 'test': z; the dataset has no such images: check --data"):
        submit.complete(rows, np.array(["a", "z"]), np.array(["a", "b", "c"]), s)


def test_submit_refuses_what_the_sample_does_not_have(run, tmp_path):
    run.save_predictions("test", embeddings(["a", "b", "c"], dim=3))
    with pytest.raises(SystemExit, match="3 rows are not asked for, such as a_2, b_2, c_2"):
        submit.main(["--run", str(run.folder), "--out", str(tmp_path / "s.csv")])
    assert not (tmp_path / "s.csv").exists()


def test_predict_replaces_nothing_unasked(run, tmp_path):
    name = ["--run", str(run.folder)]
    with pytest.raises(SystemExit, match="test exists: pass --overwrite"):
        predict.main([*name, "--split", "test"])
    with pytest.raises(SystemExit, match="not a folder of embeddings"):
        predict.main([*name, "--split", "test", "--out", str(tmp_path / "data"), "--overwrite"])
    with pytest.raises(SystemExit, match="out-of-fold"):
        predict.main([*name, "--split", "valid"])
    for wrong in ([], ["--images", str(tmp_path)], ["--images", str(tmp_path), "--split", "test", "--out", "o"]):
        with pytest.raises(SystemExit, match="say what to predict"):
            predict.main([*name, *wrong])
