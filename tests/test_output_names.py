import os

from clipknight.output_names import check_output

import pytest


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """data/captions.txt; the same by two links, links/soft.txt and links/hard.txt."""
    monkeypatch.chdir(tmp_path)
    for folder in ("data", "links"):
        (tmp_path / folder).mkdir()
    captions = tmp_path / "data" / "captions.txt"
    captions.write_text("image,caption", encoding="utf-8")
    (tmp_path / "links" / "soft.txt").symlink_to(captions)
    (tmp_path / "links" / "hard.txt").hardlink_to(captions)
    return tmp_path


@pytest.mark.parametrize(
    "out, read",
    [
        ("data/captions.txt", "data/captions.txt"),
        ("links/../data/captions.txt", "data/captions.txt"),
        ("links/soft.txt", "data/captions.txt"),
        ("links/hard.txt", "data/captions.txt"),
        ("data/captions.txt", "links/soft.txt"),
        ("new.csv", "./new.csv"),  # of two outputs
        ("data/captions.txt", "data"),
        ("links/soft.txt", "data"),
        ("data", "data/captions.txt"),
        (".", "data"),
    ],
)
def test_an_output_that_would_replace_an_input(inputs, out, read):
    with pytest.raises(ValueError, match=f"^--out {out} would replace .*: choose another --out"):
        check_output("--out", out, (), "", "elsewhere", read)
    assert (inputs / "data" / "captions.txt").read_text(encoding="utf-8") == "image,caption"


@pytest.mark.parametrize("out", ["", "data/new.csv", "data2", "links", os.devnull])
def test_outputs_that_replace_no_input(inputs, out):
    check_output("--out", out, (), "data", "data/captions.txt", "", "no/folder", os.devnull)


@pytest.mark.parametrize("out", ["a.csv", "A.CSV", "plain", "share_0.85", "", os.devnull])
def test_names_of_the_kind_that_is_written(out):
    check_output("--out", out, (".csv", ".txt"))


def test_a_name_of_another_kind():
    with pytest.raises(ValueError, match="^--json a.html does not end in .json, which is what is written$"):
        check_output("--json", "a.html", (".json",))


@pytest.mark.parametrize("out, wrong", [("a", "is a folder"), ("a/f/b.csv", "cannot be made: a/f is a file")])
def test_folders_and_what_lies_below_a_file(tmp_path, monkeypatch, out, wrong):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "f").touch()
    with pytest.raises(ValueError, match=f"^--out {out} {wrong}"):
        check_output("--out", out, (".csv",))
