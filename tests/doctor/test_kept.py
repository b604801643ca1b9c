"""Clearing caches: what a command made goes, everything else stays."""

import os

from clipknight.doctor.kept import clear, kept, shown, size_of

import pytest

OWN = [
    "embeddings/photos/images-clip-0123456789ab/vectors.npy",
    "embeddings/photos/images-clip-0123456789ab/meta.json",
    "embeddings/photos/.images-clip-0123456789ab.lock",
    "embeddings/photos/keys-clip-0123456789ab.partial/rows-384.f32",
    "embeddings/photos/readable.parquet",
    "embeddings/photos/.images-clip.0123456789ab.partial/vectors.npy",
    "embeddings/others/targets-minilm-0123456789ab/ids.parquet",
    "graphs/0123456789abcdef-openvino/model.onnx",
    "graphs/0123456789abcdef-bfloat16-openvino/graph.json",
    "frames/clip-0123456789ab/0.png",
    "frames/.clip.0123456789ab.old/0.png",
    "datasets/0123456789ab-photos/a/b.jpg",
]
OTHERS = [
    "embeddings/photos/split-0123456789ab-seed0.csv",  # a run was trained by it
    "embeddings/photos/images-clip-0123456789ab-mine/vectors.npy",
    "embeddings/photos/mine-0123456789ab/notes.txt",
    "graphs/0123456789abcdef-openvino-mine/letter.txt",
    "frames/clip-0123456789ac/0.jpg",
    "datasets/photos/a.jpg",
    "run/best/head.safetensors",
]
NAMES = ["embeddings", "graphs", "frames", "datasets"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPKNIGHT_CACHE", str(tmp_path / "kept"))
    for name in OWN + OTHERS:
        file = tmp_path / "kept" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 1000)
    return tmp_path / "kept"


def files(folder) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and ".users" not in path.parts)
    return sorted(path.relative_to(folder).as_posix() for path in found)


def test_what_commands_made_goes_and_the_rest_stays(place):
    cleared = clear(NAMES)
    assert files(place) == sorted(OTHERS)
    assert [(one.name, one.bytes, one.kept) for one in cleared] == [
        ("embeddings", 6000, 1),
        ("graphs", 2000, 1),
        ("frames", 2000, 1),
        ("datasets", 1000, 1),
    ]
    assert not (place / "embeddings" / "others").exists()
    assert [one.bytes for one in clear(NAMES)] == [0, 0, 0, 0]


def test_only_what_is_named(place):
    clear(["frames"])
    assert files(place) == sorted(name for name in OWN + OTHERS if name not in OWN[9:11])


def test_links_stay_and_so_does_what_they_lead_to(place, tmp_path):
    elsewhere = tmp_path / "elsewhere" / "images-clip-0123456789ab"
    elsewhere.mkdir(parents=True)
    (elsewhere / "vectors.npy").write_bytes(b"x")
    os.symlink(elsewhere, place / "embeddings" / "photos" / "images-link-0123456789ab")
    os.symlink(elsewhere.parent, place / "embeddings" / "linked")
    clear(NAMES)
    assert (elsewhere / "vectors.npy").is_file() and (place / "embeddings" / "linked").is_symlink()


def test_the_report_says_how_much_and_how_to_clear_it(place):
    finding = kept("frames")
    assert finding.value == f"0.0 MB in {place / 'frames'}" and finding.remedy.endswith("--clear frames deletes it")
    assert size_of(place / "embeddings") == 10_000
    clear(["datasets"])
    assert shown(clear(["datasets"])[0]) == "datasets: nothing deleted; 1 entry left that no command makes again"
