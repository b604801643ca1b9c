"""What `import clipknight` offers, and the examples that show it."""

import re

import clipknight
import predict
from clipknight import errors, messages
from clipknight.paths import ROOT
from clipknight.training import runs

import clips
import pytest
import tiny_models
from PIL import Image


def test_all_that_is_public_is_there_and_nothing_else():
    assert set(clipknight.__all__) == set(clipknight._PLACES) <= set(dir(clipknight))
    for name in clipknight.__all__:
        assert getattr(clipknight, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'clipknight' has no attribute 'laod'"):
        _ = clipknight.laod


def test_its_errors_name_commands_that_are_there(monkeypatch, tmp_path):
    (tmp_path / "pack.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="make it again by src/pack.py$"):
        clipknight.load(tmp_path)
    monkeypatch.setattr(errors, "IN_CHECKOUT", False)
    monkeypatch.setattr(messages, "_recipe", None)
    with pytest.raises(ValueError, match="make it again by clipknight pack$"):
        clipknight.load(tmp_path)


def example(document: str) -> str:
    """The first block of Python in one of the project's documents."""
    return re.search(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)[1]


@pytest.fixture
def own_folder(tmp_path, monkeypatch, knight_run):
    """photo.jpg, clip.mp4 and photos/, where the starter is a small run."""
    monkeypatch.setattr(runs, "STARTER", knight_run)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "photos/a.jpg", "photos/b.png"):
        Image.new("RGB", (40, 40), tiny_models.COLOURS["blue"]).save(tmp_path / name)
    clips.write_video(tmp_path / "clip.mp4")
    return tmp_path


@pytest.mark.parametrize("document", ["README.md", "docs/api.md"])
def test_the_example_runs(own_folder, document, capsys):
    assert len(list(filter(None, example(document).splitlines()))) == 5
    exec(example(document), made := {})
    assert made["table"]["image"].tolist() == ["photo.jpg", "clip.mp4"] and "blue" in made["table"]["caption"][0]
    assert list(made["rows"].ids) == ["a", "b"]
    assert capsys.readouterr().out.startswith(f"photo.jpg: {made['table']['caption'][0]}\n")


def test_predict_takes_the_starter_and_any_run_that_captions_by_what_embeds_for_it(own_folder, image_run):
    out = predict.main(["--run=starter", "--images=photos", f"--out={own_folder / 'rows'}", "--workers=0"])
    rows, wanted = clipknight.Embeddings.load(out), clipknight.load(image_run).predict("photos")
    assert rows.ids.tolist() == ["a", "b"] and (rows.vectors == wanted.vectors).all()


def test_the_document_names_all_that_is_public():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    methods = {name for name, value in vars(clipknight.Model).items() if callable(value) and name[0] != "_"}
    assert all(name in text for name in {*clipknight.__all__, *methods} - {"Model"})
