"""What people hold: each layout and archive reads to the same rows as the same data in Flickr's layout."""

import io
import json
import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

from clipknight.data import remote
from clipknight.data.caption_table import Columns
from clipknight.data.datasets import read_dataset
from clipknight.files import ROOM

import fsspec
import pandas as pd
import pytest
from PIL import Image

SAID = {"a": "a red, red wall", "b": "two dogs", "c": ""}  # c is there to be predicted


def picture(name):
    content = io.BytesIO()
    Image.new("RGB", (4, 4), (ord(name), 0, 0)).save(content, "png")
    return content.getvalue()


def write(folder, files):
    """Files by name, of bytes or text."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def pictures(below=""):
    return {f"{below}{name}.png": picture(name) for name in SAID}


def table(header="image,caption"):
    return "\n".join([header, *(f'{name}.png,"{text}"' for name, text in SAID.items() if text), ""])


def flickr():
    return {**pictures("Images/"), "captions.txt": table()}


def beside(suffix, below=""):
    return {f"{below}{name}{suffix}": text for name, text in SAID.items()} | pictures(below)


def part(number, below=""):
    prompts = {f"{name}.png": {"p": text, "se": 1, "c": 7.0} for name, text in SAID.items()}
    return pictures(below) | {f"{below}part-{number:06d}.json": json.dumps(prompts)}


def zipped(files, mode=None):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in files.items():
            archive.writestr(name, value)
    return content.getvalue()


def tarred(files, compressed=""):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=f"w:{compressed}") as archive:
        for name, value in files.items():
            value = value if isinstance(value, bytes) else value.encode()
            member = tarfile.TarInfo(name)
            member.size = len(value)
            archive.addfile(member, io.BytesIO(value))
    return content.getvalue()


def parquet(names=SAID, **columns):
    content = io.BytesIO()
    frame = {"image": [{"bytes": picture(name), "path": f"{name}.png"} for name in names]}
    frame |= {"text": [SAID[name] for name in names], "n": list(range(len(names)))}
    pd.DataFrame(frame | columns).to_parquet(content)
    return content.getvalue()


def of_img2dataset():
    content = io.BytesIO()
    pd.DataFrame({"url": ["u"] * 3, "key": list(SAID), "caption": list(SAID.values())}).to_parquet(content)
    return {"00000.parquet": content.getvalue(), "00000_stats.json": '{"count": 3}'}


def of_diffusiondb():
    content = io.BytesIO()
    rows = [(f"{name}.png", text, 1) for name, text in SAID.items()] + [("gone.png", "not unpacked", 2)]
    pd.DataFrame(rows, columns=["image_name", "prompt", "part_id"]).to_parquet(content)
    return content.getvalue()


METADATA = "".join(json.dumps({"file_name": f"{n}.png", "text": text}) + "\n" for n, text in SAID.items() if text)
# The files, what of them --data names, and what stands before the ids.
LAYOUTS = {
    "texts beside": (beside(".txt"), "", ""),
    "LoRA's captions": ({"10_dog/" + name: content for name, content in beside(".caption").items()}, "", ""),
    "JSON beside": (
        pictures() | {f"{name}.json": json.dumps({"caption": text}) for name, text in SAID.items()},
        "",
        "",
    ),
    "img2dataset's files": (beside(".txt", "00000/") | of_img2dataset(), "", "00000/"),
    "img2dataset's shards": ({"00000.tar": tarred(beside(".txt"))} | of_img2dataset(), "", "00000/"),
    "a shard": ({"00000.tar": tarred(beside(".txt"))}, "00000.tar", ""),
    "shards": (
        {"0.tar": tarred({f"{n}{end}": beside(".txt")[f"{n}{end}"] for n in "ab" for end in (".png", ".txt")})}
        | {"1.tar": tarred({"c.png": picture("c"), "c.txt": ""})},
        "",
        {"a": "0/", "b": "0/", "c": "1/"},
    ),
    "tar.gz": ({"x.tar.gz": tarred({f"./top/{name}": c for name, c in flickr().items()}, "gz")}, "x.tar.gz", ""),
    "zip": ({"archive.zip": zipped(flickr())}, "archive.zip", ""),
    "zip with a folder": ({"archive.zip": zipped({f"top/{n}": c for n, c in flickr().items()})}, "archive.zip", ""),
    "zip beside a table": ({"images.zip": zipped(pictures()), "captions.csv": table("file_name,text")}, "", ""),
    "Kaggle's zip": (
        {"x.zip": zipped(pictures("images/") | {"prompts.csv": table("imgId,prompt").replace(".png,", ",")})},
        "x.zip",
        "",
    ),
    "Parquet with pictures": ({"p.parquet": parquet()}, "p.parquet", ""),
    "a repository of Parquet": ({"data/0000.parquet": parquet(), "README.md": "# x"}, "", ""),
    "lists of captions": ({"p.parquet": parquet(text=[[t] if t else [] for t in SAID.values()])}, "p.parquet", ""),
    "imagefolder": (pictures() | {"metadata.jsonl": METADATA}, "", ""),
    "imagefolder of CSV": (pictures() | {"metadata.csv": table("file_name,text")}, "", ""),
    "DiffusionDB's part": (part(1, "part-000001/"), "", ""),
    "DiffusionDB's zip": ({"part-000001.zip": zipped(part(1))}, "", ""),
    "DiffusionDB's table": (
        pictures("part-000001/") | {"metadata.parquet": of_diffusiondb(), "part-000003/README.md": ""},
        "",
        "part-000001/",
    ),
}


def rows(data, before=""):
    """Ids, splits, captions and pictures, whatever the ids begin with."""

    def short(id):
        name = id.rpartition("/")[2]
        assert id == (before.get(name) if isinstance(before, dict) else before) + name
        return name

    images = [(short(id), split, Path(path).read_bytes()) for id, path, split in data.images.itertuples(index=False)]
    said = [(short(id), caption) for id, caption in data.captions[["id", "caption"]].itertuples(index=False)]
    return images, said


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_reads_as_flickrs(name, tmp_path):
    files, data, before = LAYOUTS[name]
    expected = rows(read_dataset(write(tmp_path / "flickr", flickr())))
    assert len(expected[0]) == 3 and len(expected[1]) == 2
    folder = write(tmp_path / "own", files)
    assert rows(read_dataset(folder / data), before) == expected
    assert rows(read_dataset(folder / data), before) == expected  # what is unpacked is there
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == sorted(files)


@pytest.mark.parametrize("of", ["imagefolder", "texts", "parquet"])
def test_splits_by_folder_or_file(of, tmp_path):
    place = {"a": "train", "b": "validation", "c": "test"}
    if of == "parquet":
        files = {f"data/{place[name]}-00000-of-00001.parquet": parquet([name]) for name in SAID}
    elif of == "texts":
        files = {f"{place[n]}/{n}{end}": beside(".txt")[f"{n}{end}"] for n in SAID for end in (".png", ".txt")}
    else:
        files = {f"{place[name]}/{name}.png": picture(name) for name in SAID}
        lines = {n: json.dumps({"file_name": f"{n}.png", "text": SAID[n]}) for n in "ab"}
        files |= {f"{place[n]}/metadata.jsonl": line for n, line in lines.items()}
    data = read_dataset(write(tmp_path, files))
    found = {id.rpartition("/")[2]: split for id, split in zip(data.ids, data.images["split"], strict=True)}
    assert found == {"a": "train", "b": "valid", "c": "test"}
    assert data.captions["caption"].tolist() == [SAID["a"], SAID["b"]]


def test_several_captions_of_one_picture(tmp_path):
    files = {
        "a.png": picture("a"),
        "a.txt": "one\n\n two \n",
        "b.png": picture("b"),
        "b.json": '{"caption": ["x", "y"]}',
    }
    lists = read_dataset(write(tmp_path / "beside", files)).caption_lists()
    assert lists == {"a": ["one", "two"], "b": ["x", "y"]}
    rows_of_one = parquet(["a", "a", "b"], text=["one", "two", "x"])
    twice = write(tmp_path / "rows", {"p.parquet": rows_of_one})
    assert read_dataset(twice).caption_lists() == {"a": ["one", "two"], "b": ["x"]}
    same_name = [{"bytes": picture(name), "path": "x.png"} for name in "ab"]
    clash = write(tmp_path / "clash", {"p.parquet": parquet(["a", "b"], image=same_name)})
    assert read_dataset(clash).caption_lists() == {"x": [SAID["a"]], "x-1": ["two dogs"]}


def test_columns_of_pictures_may_be_named(tmp_path):
    folder = write(tmp_path, {"p.parquet": parquet(wort=["eins", "zwei", "drei"])})
    assert read_dataset(folder, Columns("image", "wort")).caption_lists()["a"] == ["eins"]
    with pytest.raises(ValueError, match="p.parquet has pictures and no column worte: its columns are image, text, n"):
        read_dataset(folder, Columns("image", "worte"))
    with pytest.raises(ValueError, match="the column 'n' holds .*, no text"):
        read_dataset(folder, Columns("image", "n"))


def test_a_changed_archive_is_unpacked_anew(tmp_path):
    archive = write(tmp_path, {"x.zip": zipped({"a.png": picture("a"), "a.txt": "one"})}) / "x.zip"
    assert read_dataset(archive).captions["caption"].tolist() == ["one"]
    archive.write_bytes(zipped({"a.png": picture("a"), "a.txt": "one more"}))
    assert read_dataset(archive).captions["caption"].tolist() == ["one more"]


def test_archives_left_beside_what_was_unpacked_are_not_read(tmp_path):
    data = read_dataset(write(tmp_path / "folder", {**flickr(), "archive.zip": b"damaged"}))
    assert data.layout == "flickr" and data.root == tmp_path / "folder"
    data = read_dataset(write(tmp_path / "flat", {**pictures(), "captions.csv": table(), "archive.zip": b"damaged"}))
    assert data.layout == "flickr" and data.root == tmp_path / "flat"


# Hostile


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("name", ["../evil.txt", "a/../../evil.txt", "/evil.txt", "..\\evil.txt", "C:\\evil.txt"])
def test_no_name_leads_out_of_the_cache(tmp_path, outputs, pack, name):
    archive = tmp_path / ("x.zip" if pack is zipped else "x.tar")
    archive.write_bytes(pack({"a.png": picture("a"), "a.txt": "one", name: "evil"}))
    before = set((outputs / "datasets").glob("[!.]*"))
    with pytest.raises(ValueError, match=r"the name '.*evil.txt' in it leads out of its folder: it is not read"):
        read_dataset(archive)
    assert set((outputs / "datasets").glob("[!.]*")) == before
    assert not [*outputs.parent.glob("evil.txt"), *outputs.rglob("evil.txt"), *tmp_path.rglob("evil.txt")]


def test_links_and_hidden_files_are_left_out(tmp_path):
    files = {"a.png": picture("a"), "a.txt": "one", "__MACOSX/._a.png": "x", ".hidden/b.png": picture("b")}
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(io.BytesIO(zipped(files)), "r") as plain, zipfile.ZipFile(archive, "w") as changed:
        for member in plain.infolist():
            changed.writestr(member, plain.read(member))
        link = zipfile.ZipInfo("b.txt")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        changed.writestr(link, "/etc/passwd")
    shard = tmp_path / "x.tar"
    with tarfile.open(fileobj=io.BytesIO(tarred(files))) as plain, tarfile.open(shard, "w") as changed:
        for member in plain:
            changed.addfile(member, plain.extractfile(member))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(f"link{kind.decode()}.png")
            member.type, member.linkname = kind, "/etc/passwd"
            changed.addfile(member)
    for path in (archive, shard):
        data = read_dataset(path)
        assert data.ids.tolist() == ["a"]
        assert sorted(os.listdir(data.root)) == ["a.png", "a.txt"]


@pytest.mark.parametrize("name", ["x.zip", "x.parquet"])
def test_what_the_disk_has_no_room_for_is_refused(tmp_path, monkeypatch, name):
    content = {"x.zip": zipped({"a.png": b"\0" * 100_000}), "x.parquet": parquet(image=[b"\0" * 100_000] * 3)}[name]
    assert len(content) < 10_000
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=ROOM + 99_999))
    with pytest.raises(ValueError, match=f"{name} holds more than the disk of .* has room for"):
        read_dataset(write(tmp_path, {name: content}) / name)


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
@pytest.mark.parametrize("damage", [lambda b: b[: min(550, len(b) // 2)], lambda b: b"", lambda b: b"no archive" * 100])
def test_a_damaged_archive_says_so_in_one_line(tmp_path, name, damage):
    content = zipped(flickr()) if name == "x.zip" else tarred(flickr(), name.partition("tar.")[2])
    (tmp_path / name).write_bytes(damage(content))
    with pytest.raises((ValueError, OSError), match=f"{name} cannot be unpacked|x.tar") as error:
        read_dataset(tmp_path / name)
    assert len(str(error.value)) < 500 and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "files, message",
    [
        ({"part-000001.json": '{"a.png": {"q": "x"}}'}, "part-000001.json is no part of DiffusionDB"),
        ({"metadata.jsonl": '{"file_name": "a.png", "text": "x"}\n[1]'}, "metadata.jsonl, line 2: a list of 1, not a"),
        (
            {"metadata.jsonl": '{"file_name": "a.png", "text": 3}'},
            "metadata.jsonl, line 1: file_name and text are text",
        ),
        ({"metadata.jsonl": '{"file_name": "a.png",\n'}, "metadata.jsonl, line 1: broken JSON"),
        ({"metadata.jsonl": '{"file_name": "gone.png", "text": "x"}'}, "metadata.jsonl, line 1 .gone.png"),
        ({"a.txt": b"\xff\xfe"}, "a.txt"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path, files, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_dataset(write(tmp_path, {"a.png": picture("a"), **files}))


# Elsewhere


@pytest.fixture
def store():
    """A store in memory, that fsspec knows by a URL as it knows s3://."""
    memory = fsspec.filesystem("memory")
    yield memory
    memory.store.clear()


def test_a_url_is_copied_once(tmp_path, store):
    expected = rows(read_dataset(write(tmp_path / "flickr", flickr())))
    store.pipe_file("/bucket/x.tar", tarred(beside(".txt")))
    for name, content in flickr().items():
        store.pipe_file(f"/bucket/folder/{name}", content if isinstance(content, bytes) else content.encode())
    assert rows(read_dataset("memory://bucket/x.tar")) == expected
    assert rows(folder := read_dataset("memory://bucket/folder")) == expected and folder.name == "folder"
    store.store.clear()
    assert rows(read_dataset("memory://bucket/x.tar")) == expected  # not asked for again


def test_a_url_that_cannot_be_copied(store, monkeypatch):
    with pytest.raises(OSError, match="memory://bucket/gone.tar cannot be copied: "):
        read_dataset("memory://bucket/gone.tar")
    with pytest.raises(ValueError, match="nowhere"):
        read_dataset("nowhere://x.tar")

    def lacking(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "url_to_fs", lacking)
    with pytest.raises(
        ValueError, match=r's3://b/x.tar: Install s3fs to access S3: pip install "clipknight\[remote\]"'
    ):
        remote.fetched("s3://b/x.tar")
