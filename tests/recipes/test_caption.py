import json
import shutil
from fractions import Fraction

import train_maccap
from caption import main
from clipknight.captioning.captioner import Captioner, CaptionOptions, ImageVectors
from clipknight.embedding.clip import load_clip
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.subregions import encode_subregions
from clipknight.methods.maccap import MacCap
from clipknight.methods.registry import open_captioner
from clipknight.training.runs import Run

import av
import numpy as np
import pandas as pd
import pytest
import tiny_models
import yaml
from PIL import Image


def write_picture(path, colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 40), tiny_models.COLOURS[colour]).save(path)
    return path


def write_video(path, *colours):
    """Ten frames of each colour."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        (stream.width, stream.height), stream.pix_fmt, stream.thread_count = (48, 48), "yuv420p", 1
        for number in range(10 * len(colours)):
            pixels = np.full((48, 48, 3), tiny_models.COLOURS[colours[number // 10]], np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels)
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """red.png, more/blue.jpg, more/white.png, more/green.mp4. Not to be written to."""
    folder = tmp_path_factory.mktemp("media")
    write_picture(folder / "red.png", "red")
    write_picture(folder / "more" / "blue.jpg", "blue")
    write_picture(folder / "more" / "white.png", "white")
    write_video(folder / "more" / "green.mp4", "green")
    return folder


@pytest.fixture
def own(media, tmp_path):
    """A copy to damage."""
    return shutil.copytree(media, tmp_path / "own")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "captions.csv"


@pytest.fixture
def argv(knight_run, out):
    def words(*more):
        options = {"run": knight_run, "out": out, "device": "cpu", "precision": "fp32", "workers": 0, "max_tokens": 12}
        return [*(f"--{name}={value}" for name, value in options.items()), *map(str, more)]

    return words


def colours_in(table):
    """The colours that each caption names."""
    words = {row.image: row.caption.lower().split() for row in table.itertuples()}
    return {name: [colour for colour in tiny_models.COLOURS if colour in said] for name, said in words.items()}


def results(path):
    return {result["image_id"]: result for result in json.loads(path.read_text(encoding="utf-8"))}


# What comes out


def test_images_folders_and_videos(argv, media, out, capsys):
    table = main(argv(media / "red.png", media / "more"))
    assert colours_in(table) == {
        f"{media}/red.png": ["red"],
        f"{media}/more/blue.jpg": ["blue"],
        f"{media}/more/white.png": ["white"],
        f"{media}/more/green.mp4": ["green"],
    }
    pd.testing.assert_frame_equal(pd.read_csv(out, dtype="str"), table.astype("str"))
    said = capsys.readouterr().out
    assert f"{media}/red.png: {table['caption'][0]}\n" in said and "3 images and 1 video in" in said
    page = out.with_suffix(".html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 3 + 5 and f"{media}/more/green.mp4, frame 5" in page
    assert all(text in page for text in table["caption"]) and "retrieved from 120 captions of coloured" in page
    assert sorted(path.name for path in out.parent.iterdir()) == ["captions.csv", "captions.html"]


def test_names_in_one_folder_are_relative_to_it(argv, media):
    table = main(argv(media, "--html=none", "--num_beams=1"))
    assert sorted(table["image"]) == ["more/blue.jpg", "more/green.mp4", "more/white.png", "red.png"]


def test_what_lies_in_archives_is_named_after_them(argv, media, tmp_path, out, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.make_archive("shards/00000", "tar", media, "red.png")
    shutil.make_archive("shards/00001", "tar", media, "more")
    table = main(argv("shards/00000.tar", "shards/00001.tar", f"--out={out.with_suffix('.json')}", "--num_beams=1"))
    assert colours_in(table) == {
        "shards/00000/red.png": ["red"],
        "shards/00001/more/blue.jpg": ["blue"],
        "shards/00001/more/white.png": ["white"],
        "shards/00001/more/green.mp4": ["green"],
    }
    assert out.with_suffix(".html").read_text(encoding="utf-8").count("data:image/jpeg") == 3 + 5
    (unpacked,) = results(out.with_suffix(".json"))["shards/00000/red.png"]["pictures"]
    assert Image.open(unpacked).size == (40, 40)


def test_json_gives_the_reasons(argv, media, out, knight_run):
    out = out.with_suffix(".json")
    main(argv(media / "more", "--frames=3", f"--out={out}", "--html=none"))
    assert [path.name for path in out.parent.iterdir()] == ["captions.json"]
    said = results(out)
    assert set(said) == {"blue.jpg", "white.png", "green.mp4"}
    for name, result in said.items():
        texts, cosines = zip(*result["neighbours"], strict=True)
        assert len(texts) == 3 and all(name.partition(".")[0] in text for text in texts)
        assert list(cosines) == sorted(cosines, reverse=True) and 0.5 < cosines[0] <= 1.01
    assert said["blue.jpg"]["pictures"] == [str(media / "more" / "blue.jpg")]
    assert len(said["green.mp4"]["pictures"]) == 3


def test_only_videos(argv, media, tmp_path, out):
    write_video(tmp_path / "white.avi", "white")
    table = main(argv(tmp_path / "white.avi", media / "more" / "green.mp4", "--html=none"))
    assert list(colours_in(table).values()) == [["white"], ["green"]]


def test_the_nearest_caption_alone(argv, media, knight_run):
    table = main(argv(media, "--method=clipre", "--html=none"))
    corpus = open_captioner(Run.open(knight_run), device="cpu").retriever.corpus
    assert set(table["caption"]) <= set(corpus.texts)
    assert colours_in(table)["red.png"] == ["red"] and colours_in(table)["more/green.mp4"] == ["green"]


@pytest.mark.parametrize("way", ["consensus", "embedding"])
def test_reranking(argv, media, way):
    table = main(argv(media / "red.png", "--rerank=4", f"--rerank_by={way}", "--html=none"))
    assert list(colours_in(table).values()) == [["red"]]


def test_another_corpus(argv, media, tmp_path, out):
    (tmp_path / "mine.txt").write_text("red wall\nblue wall\nwhite wall\ngreen wall\n", encoding="utf-8")
    table = main(argv(media, "--method=clipre", "--corpus", tmp_path / "mine.txt", "--n_neighbors=1"))
    assert dict(zip(table["image"], table["caption"], strict=True))["more/blue.jpg"] == "blue wall"
    assert "retrieved from 4 captions of mine" in out.with_suffix(".html").read_text(encoding="utf-8")


# Sub-regions


@pytest.fixture
def maccap(argv, maccap_run, monkeypatch):
    """Captions by a MacCap; what its decoder is asked."""
    asked = []

    def caption(captioner, embeddings, options, regions):
        asked.append((captioner, embeddings, options, regions))
        return original(captioner, embeddings, options, regions)

    original = Captioner.caption
    monkeypatch.setattr(Captioner, "caption", caption)
    return lambda *more: (main(argv(f"--run={maccap_run}", "--html=none", *more)), asked)


@pytest.mark.slow
def test_sub_regions_of_images_and_videos(maccap, media, colour_clip, monkeypatch):
    table, ((_, whole, options, regions), (_, frames, *of_videos)) = maccap(media, "--frames=2", "--max_tokens=0")
    assert colours_in(table) == {f"{name}": [name.partition(".")[0].split("/")[-1]] for name in table["image"]}
    found = encode_subregions(load_clip(str(colour_clip), "cpu"), [str(media / "red.png")], 3)
    row = table["image"].tolist().index("red.png")
    np.testing.assert_allclose(whole[row], found.whole[0], atol=0.01)
    np.testing.assert_allclose(regions[row], found.regions[0], atol=0.01)
    assert frames.shape == (1, 2, 16) and of_videos[1].shape == (1, 2, 3, 16)
    assert options == of_videos[0] == MacCap.options
    monkeypatch.setattr("clipknight.embedding.subregions.subregion_features", None)  # all is kept
    again, _ = maccap(media, "--frames=2", "--max_tokens=0")
    pd.testing.assert_frame_equal(again, table)


def test_maccap_without_its_parts(maccap, media):
    off = ["--options", "regions=0", "noise=0", "--rerank=1", "--num_beams=1"]
    table, ((captioner, whole, options, regions),) = maccap(media / "red.png", *off)
    assert list(colours_in(table).values()) == [["red"]]
    assert regions is None and options == CaptionOptions(1, 12, 1, "embedding")
    prefix = captioner.method.prefix.vectors(ImageVectors(whole))
    assert prefix.shape == (1, 3, 16)
    np.testing.assert_allclose(prefix[0], whole.repeat(3, axis=0), atol=1e-6)


@pytest.mark.slow
def test_maccap_on_a_split_and_from_a_run_without_regions(maccap, argv, coloured, maccap_argv, image_run):
    table, ((_, _, _, regions),) = maccap("--split=valid", "--rerank=1")
    assert table["image"].tolist() == [f"dev{i:02d}" for i in range(8)] and regions.shape == (8, 3, 16)
    train_maccap.main(maccap_argv("maccap-of-a-run", "--space=target", "--epochs=1"))
    table, asked = maccap("--split=valid", "--run=captioning/maccap-of-a-run", f"--from={image_run}", "--rerank=1")
    assert len(table) == 8 and asked[-1][3] is None


def test_mistakes_with_maccap(maccap, media, image_run):
    with pytest.raises(SystemExit, match="sees 2 x 2 cells, of which 5 regions cannot be taken"):
        maccap(media / "red.png", "--options", "regions=5")
    with pytest.raises(SystemExit, match="regions -1 and noise .* must be 0 or more"):
        maccap(media / "red.png", "--options", "regions=-1")
    with pytest.raises(
        SystemExit, match="maccap has no option 'beta'; its options: regions=10, weight=1.0, noise=0.016"
    ):
        maccap(media / "red.png", "--options", "beta=1")
    with pytest.raises(SystemExit, match="gives embeddings of the space .*'target'"):
        maccap(media / "red.png", f"--from={image_run}")


def test_a_corpus_of_several_captions_a_line(argv, media, tmp_path, out):
    (tmp_path / "clips.tsv").write_text("red wall, blue wall\tone\nwhite wall, green wall\ttwo\n", encoding="utf-8")
    words = ["--method=clipre", "--corpus", tmp_path / "clips.tsv", "--corpus_separator=, ", "--n_neighbors=1"]
    table = main(argv(media, *words))
    assert dict(zip(table["image"], table["caption"], strict=True))["more/blue.jpg"] == "blue wall"
    assert "retrieved from 4 captions of clips" in out.with_suffix(".html").read_text(encoding="utf-8")


# A dataset's split


@pytest.fixture(scope="module")
def out_of_fold(image_run, outputs):
    """A run whose saved predictions of valid belong to the pictures in reverse."""
    run = Run(shutil.copytree(Run.open(image_run).folder, outputs / "captioning" / "out-of-fold"))
    saved = run.predictions("valid")
    Embeddings(saved.ids, np.asarray(saved.vectors)[::-1].copy()).save(run.folder / "predictions" / "valid")
    return run.name


def test_a_split_is_captioned_from_the_saved_predictions(argv, coloured, out_of_fold, out):
    colours = list(tiny_models.COLOURS)
    fresh = main(argv("--data", coloured, "--split=valid"))
    assert [c for (c,) in colours_in(fresh).values()] == [colours[i % 6] for i in range(8)]
    page = out.with_suffix(".html").read_text(encoding="utf-8")
    assert "a wall painted white" in page and "references" in page
    saved = main(argv("--split=valid", f"--from={out_of_fold}", "--html=none"))  # of the run's own dataset
    assert saved["image"].tolist() == [f"dev{i:02d}" for i in range(8)]
    assert [c for (c,) in colours_in(saved).values()] == [colours[i % 6] for i in reversed(range(8))]
    assert main(argv("--split=valid", "--limit=3", "--html=none"))["image"].tolist() == ["dev00", "dev01", "dev02"]


def test_a_split_without_images_and_videos_in_a_dataset(argv, tmp_path, out):
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", "red")
    (tmp_path / "captions.csv").write_text("video,caption,split\na.mp4,red,train\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="holds videos: name its folder as a path instead of --data"):
        main(argv("--data", tmp_path, "--split=train"))
    with pytest.raises(SystemExit, match="no image in 'valid'"):
        main(argv("--data", tmp_path, "--split=valid"))


def test_a_name_with_a_line_break_stands_on_one_line(argv, tmp_path, capsys):
    write_picture(tmp_path / "in" / "a\nb.png", "red")
    table = main(argv(tmp_path / "in", "--html=none"))
    assert table["image"].tolist() == ["a\nb.png"] and "\na\\nb.png: " in f"\n{capsys.readouterr().out}"


# Files that cannot be read


def test_unreadable_images(argv, own, out, capsys):
    (own / "red.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit, match="1 unreadable images: .*red.png: not an image"):
        main(argv(own))
    assert not out.parent.exists()
    table = main(argv(own, "--skip_unreadable"))
    assert sorted(table["image"]) == ["more/blue.jpg", "more/green.mp4", "more/white.png"]
    assert "left out: 1 unreadable images" in capsys.readouterr().out and out.exists()


def test_unreadable_videos(argv, own, out, capsys):
    (own / "more" / "green.mp4").write_bytes(b"no video")
    with pytest.raises(SystemExit, match="1 unreadable videos: .*green.mp4: "):
        main(argv(own))
    assert not out.parent.exists()
    table = main(argv(own, "--skip_unreadable", "--html=none"))
    assert sorted(table["image"]) == ["more/blue.jpg", "more/white.png", "red.png"]
    assert "left out: 1 unreadable videos" in capsys.readouterr().out


def test_nothing_that_can_be_read(argv, tmp_path, out):
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(SystemExit, match="1 unreadable images"):
        main(argv(tmp_path / "a.png", "--skip_unreadable"))
    with pytest.raises(SystemExit, match="none of the videos can be read"):
        main(argv(tmp_path / "b.mp4", "--skip_unreadable"))
    assert not out.parent.exists()


# Mistakes


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "say what to caption"),
        (["x.jpg", "--split=valid"], "say what to caption"),
        (["x.jpg", "--data=input"], "say what to caption"),
        (["absent.jpg"], "absent.jpg does not exist"),
        ([__file__], "neither an image nor a video by its suffix"),
        (["x.jpg", "--frames=0"], "--frames 0 is not allowed: give a whole number from 1"),
        (["x.jpg", "--rerank=-1"], "--rerank -1 is not allowed: give a whole number from 0"),
        (
            ["--split=valid", "--rerank=2", "--rerank_by=length"],
            "--rerank_by length is not allowed: give one of",
        ),
        (["--split=valid", "--max_tokens=126"], "exceed the decoder's 128 positions"),
        (["x.jpg", "--from=no-such-run"], "no encoder is called 'no-such-run'"),
        (["--split=valid", "--data=absent"], "absent does not exist"),
    ],
)
def test_mistakes(argv, out, words, message):
    with pytest.raises(SystemExit, match=message):
        main(argv(*words))
    assert not out.parent.exists()


def test_what_the_output_is_called(argv, media, tmp_path):
    with pytest.raises(SystemExit, match="captions.txt ends in none of .csv, .json, .srt, .vtt"):
        main(argv(media, f"--out={tmp_path / 'captions.txt'}"))


def test_a_run_that_captions_nothing(argv, media, image_run):
    with pytest.raises(SystemExit, match="captioning/b captions nothing: --run names a run of train_knight.py"):
        main(argv(media, f"--run={image_run}"))


def test_embeddings_of_another_space(argv, media, tiny_clip, out):
    with pytest.raises(SystemExit, match="gives embeddings of the space .'clip'.*retrieves in .'target'"):
        main(argv(media, f"--from={tiny_clip}"))
    assert not out.parent.exists()


def test_a_run_of_text_alone(argv, media, knight_run, image_run, outputs):
    folder = shutil.copytree(Run.open(knight_run).folder, outputs / "captioning" / "alone")
    (folder / "settings.yaml").write_text(
        yaml.safe_dump(Run(folder).settings | {"from_": "", "data": "", "corpus": [Run(folder).settings["data"]]}),
        encoding="utf-8",
    )
    with pytest.raises(SystemExit, match="captioning/alone was trained on text alone: .*--from RUN or ENCODER"):
        main(argv(media, "--run=captioning/alone"))
    table = main(argv(media / "red.png", f"--from={image_run}", "--html=none", "--run=captioning/alone"))
    assert list(colours_in(table).values()) == [["red"]]


def test_a_run_without_a_dataset(argv, knight_run, image_run, outputs):
    for name, run in (("knight", knight_run), ("b", image_run)):
        folder = shutil.copytree(Run.open(run).folder, outputs / "captioning" / "packed" / name)
        settings = Run(folder).settings
        (folder / "settings.yaml").write_text(
            yaml.safe_dump(settings | {"data": "", "corpus": [settings["data"]]}), encoding="utf-8"
        )
    words = ["--split=valid", "--from=captioning/packed/b"]
    with pytest.raises(SystemExit, match="names no dataset: say which one's valid split, --data DATASET"):
        main(argv(*words, "--run=captioning/packed/knight"))


@pytest.mark.parametrize("every", ["1s", "scenes"])
def test_a_clip_shot_by_shot_as_subtitles(argv, tmp_path, every):
    film, srt = write_video(tmp_path / "film.mp4", "red", "green", "blue"), tmp_path / "film.srt"
    table = main(argv(film, f"--every={every}", "--frames=2", f"--out={srt}"))
    names = [f"{film}#t={start},{start + 1}" for start in range(3)]
    assert list(table["image"]) == names
    assert colours_in(table) == dict(zip(names, (["red"], ["green"], ["blue"])))
    lines = srt.read_text(encoding="utf-8").splitlines()
    assert lines[4:7] == ["2", "00:00:01,000 --> 00:00:02,000", table["caption"][1]]
    assert sum(" --> " in line for line in lines) == 3


def test_subtitles_are_of_one_clip_and_its_shots(argv, tmp_path, media):
    words = [media / "red.png", f"--out={tmp_path / 'film.srt'}"]
    with pytest.raises(SystemExit, match="holds a clip's captions shot by shot: name one clip, and --every 5s or sc"):
        main(argv(*words))
    with pytest.raises(SystemExit, match="film.srt holds the captions of one clip, and .*red.png has 0"):
        main(argv(*words, "--every=5s"))
    with pytest.raises(SystemExit, match="--every 0s is not allowed: give seconds, such as 5s, or scenes"):
        main(argv(*words, "--every=0s"))
