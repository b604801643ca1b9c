"""The object that `load` gives does what the command line does."""

import threading
from pathlib import Path

import answer
import blend
import caption
import predict
import recognise
from clipknight import Embeddings, load
from clipknight.api import model as model_module
from clipknight.paths import caches
from clipknight.training.runs import Run

import clips
import numpy as np
import pytest
import tiny_models
from PIL import Image

CPU = {"device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """red.png, more/blue.jpg, more/green.png. Not to be written to."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "more").mkdir()
    for name in ("red.png", "more/blue.jpg", "more/green.png"):
        Image.new("RGB", (40, 40), tiny_models.COLOURS[Path(name).stem]).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def knight(knight_run):
    return load(knight_run, **CPU)


@pytest.fixture(scope="module")
def ensemble(coloured, tiny_clip, colour_encoder, image_run, tmp_path_factory) -> str:
    """Of a Model B, and of what recognises colours."""
    vocabulary = tmp_path_factory.mktemp("words") / "colours.txt"
    vocabulary.write_text("red\ngreen\nblue\n", encoding="utf-8")
    options = {"data": coloured, "target_encoder": colour_encoder, "device": "cpu"}
    words = [f"--{name}={value}" for name, value in options.items()]
    named = [f"--encoder={tiny_clip}", f"--vocabulary={vocabulary}", "--run=api/concepts"]
    recognise.main([*words, *named, "--precision=fp32", "--workers=0"])
    blend.main([*words, "--run=api/ensemble", "--folds=2", "--members", image_run, "api/concepts"])
    return "api/ensemble"


def predicted(run, folder, out) -> Embeddings:
    return Embeddings.load(
        predict.main([f"--run={run}", f"--images={folder}", f"--out={out}", "--device=cpu", "--workers=0"])
    )


def captioned(run, out, *paths) -> dict:
    words = [f"--run={run}", f"--out={out}", "--html=none", "--device=cpu", "--precision=fp32", "--workers=0"]
    table = caption.main([*map(str, paths), *words])
    return dict(zip(table["image"], table["caption"], strict=True))


def same(rows: Embeddings, others: Embeddings) -> None:
    assert list(rows.ids) == list(others.ids)
    np.testing.assert_allclose(rows.vectors, others.vectors, atol=1e-6)


def test_predictions_are_those_of_predict_py(ensemble, knight, image_run, pictures, tmp_path):
    same(load(ensemble, **CPU).predict(pictures), predicted(ensemble, pictures, tmp_path / "ensemble"))
    same(knight.predict(str(pictures)), predicted(image_run, pictures, tmp_path / "b"))
    folder = load(Run.open(image_run).folder, **CPU).predict(pictures)
    same(folder, knight.predict(pictures))


def test_captions_are_those_of_caption_py(knight, knight_run, pictures, tmp_path):
    given = [clips.write_video(tmp_path / "clip.mp4"), pictures / "red.png", pictures / "more"]
    table = knight.caption(given)
    assert list(table) == ["image", "caption"]
    assert dict(table.itertuples(index=False)) == captioned(knight_run, tmp_path / "c.csv", *given)
    more = [f"{pictures}/more/{name}" for name in ("blue.jpg", "green.png")]
    assert table["image"].tolist() == [*map(str, given[:2]), *more]


def test_pictures_in_memory_give_what_their_files_give(knight, pictures, monkeypatch):
    """Of a generator too, and when a batch holds two."""
    paths = [pictures / "red.png", pictures / "more" / "blue.jpg", pictures / "more" / "green.png"]
    files = knight.predict(paths), knight.caption(paths)
    forms = [Image.open(paths[0]), paths[1].read_bytes(), np.asarray(Image.open(paths[2]))]
    monkeypatch.setattr(model_module, "BATCHES", 1)
    small = load(knight.decoder.name, **CPU, batch_size=2)
    rows = small.predict(form for form in forms)
    assert list(rows.ids) == ["0", "1", "2"]
    np.testing.assert_allclose(rows.vectors, files[0].vectors, atol=1e-6)
    table = small.caption(form for form in forms)
    assert table["image"].tolist() == ["0", "1", "2"] and table["caption"].tolist() == files[1]["caption"].tolist()


def test_nothing_stays_behind(knight, pictures, outputs):
    knight.caption(pictures / "red.png")  # opens its corpus, which is kept
    before = sorted(caches().rglob("*"))
    knight.predict(pictures)
    knight.caption(pictures / "red.png")
    assert sorted(caches().rglob("*")) == before


def test_an_explanation(knight, ensemble, image_run, pictures):
    model = load(knight.decoder.name, from_=ensemble, **CPU)
    why = model.explain(pictures / "red.png", concepts=2)
    assert why.image == f"{pictures}/red.png" and "red" in why.caption
    assert len(why.neighbours) == 3 and all("red" in text for text in why.neighbours["caption"])
    assert why.neighbours["cosine"].is_monotonic_decreasing and why.confidence == why.neighbours["cosine"][0]
    assert set(why.members["member"]) == {image_run, "api/concepts"}
    whole = model.predict(pictures / "red.png").vectors[0]
    for member, cosine in why.members.itertuples(index=False):
        row = load(member, **CPU).predict(pictures / "red.png").vectors[0]
        assert cosine == pytest.approx(row @ whole / np.linalg.norm(row), abs=1e-5)
    assert len(why.concepts) == 2 and set(why.concepts["concept"]) <= {"red", "green", "blue"}
    assert str(why).startswith(f"{pictures}/red.png: {why.caption}\n  {why.confidence:.3f}  ")
    alone = knight.explain(Image.open(pictures / "red.png"))
    assert (alone.image, alone.caption) == ("0", knight.caption(pictures / "red.png")["caption"][0])
    assert list(alone.members) == ["member", "cosine"] and alone.members.empty and alone.concepts.empty


def test_an_encoder_explains_without_members(maccap_run, pictures):
    model = load(maccap_run, **CPU)
    assert "red" in model.explain(pictures / "red.png").caption.lower()
    with pytest.raises(ValueError, match="embeds images and predicts no caption: give from_, a run that predicts"):
        model.predict(pictures)


def test_answers_are_those_of_answer_py(knight_run, pictures, tmp_path):
    decoder = tiny_models.write_language_model(tmp_path / "llama", "llama", 1, 512)
    model, photo = load(knight_run, **CPU, language_model=str(decoder)), pictures / "red.png"
    words = [str(photo), f"--run={knight_run}", f"--language_model={decoder}", f"--out={tmp_path / 'a.csv'}"]
    words += ["--question=what is it?", "--device=cpu", "--precision=fp32", "--workers=0"]
    assert model.answer(photo, "what is it?") == answer.main(words)["answer"][0]
    choices = ["red", "green"]
    assert (
        model.answer(photo, "what is it?", choices=choices) == answer.main([*words, "--choices", *choices])["answer"][0]
    )


def test_progress_is_a_switch(knight, pictures, capsys, monkeypatch):
    monkeypatch.setattr(model_module, "SHOWN_AFTER", 0)
    knight.predict(pictures, progress=False)
    assert capsys.readouterr() == ("", "")
    knight.predict(pictures)
    shown = capsys.readouterr().err
    assert "images: 3image" in shown and "(once)" not in shown


def test_unreadable_images(knight, pictures, tmp_path, monkeypatch, capsys):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    given = [pictures / "red.png", tmp_path / "broken.png"]
    with pytest.raises(ValueError, match="1 unreadable images: .*broken.png"):
        knight.predict(given)
    small = load(knight.decoder.name, **CPU, batch_size=1)
    monkeypatch.setattr(model_module, "BATCHES", 1)
    assert list(small.predict(given, skip_unreadable=True).ids) == [f"{pictures}/red.png"]
    assert "/left_out/" not in capsys.readouterr().out  # a list that would be gone
    assert small.caption([*given, b"nothing"], skip_unreadable=True)["image"].tolist() == [f"{pictures}/red.png"]
    with pytest.raises(ValueError, match="there is no image, or none that can be read"):
        small.predict([tmp_path / "broken.png"], skip_unreadable=True)
    with pytest.raises(ValueError, match="there is no image"):
        small.caption([])


def test_threads_do_not_share_their_temporary_folders(knight, pictures):
    found, alone = {}, knight.predict(pictures)

    def work(number):
        found[number] = knight.predict(pictures, progress=False)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rows in found.values():
        np.testing.assert_array_equal(rows.vectors, alone.vectors)
    assert len(found) == 3


def test_mistakes(knight, knight_run, image_run, pictures, tmp_path):
    (clip := tmp_path / "clip").mkdir()
    (clip / "run.json").write_text('{"kind": "clip", "finished": true}', encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="no run 'nowhere' in "):
        load("nowhere")
    with pytest.raises(ValueError, match="predicts embeddings itself: from_ is for a run that captions"):
        load(image_run, from_=knight_run)
    with pytest.raises(ValueError, match="gives embeddings of the space"):
        load(image_run, **CPU).caption(pictures)  # the starter's captions are of MiniLM
    with pytest.raises(ValueError, match="neither predicts nor captions"):
        load(clip)
    for given in (pictures, []):
        with pytest.raises(ValueError, match="one image at a time"):
            knight.explain(given)
    (tmp_path / "a.mp4").write_bytes(b"anything")
    with pytest.raises(ValueError, match="a.mp4 is a video: this takes an image"):
        knight.explain(tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="predictions are of images: .*a.mp4 is a video, which caption takes"):
        knight.predict([tmp_path / "a.mp4"])
