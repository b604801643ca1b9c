"""The manifest of a pack: what it says of names and of files."""

import json
from pathlib import Path

from clipknight.packs import check_pack, pack_of, place_in_pack, write_manifest

import pytest


@pytest.fixture
def pack(tmp_path) -> Path:
    (tmp_path / "pack" / "runs" / "a").mkdir(parents=True)
    (tmp_path / "pack" / "runs" / "a" / "run.json").write_text("{}", encoding="utf-8")
    (tmp_path / "pack" / "README.md").write_text("a card", encoding="utf-8")
    write_manifest(tmp_path / "pack", run="a")
    return tmp_path / "pack"


def test_names_that_begin_with_a_dot_are_places_in_the_pack(pack):
    inner = pack / "runs" / "a"
    assert pack_of(inner) == pack and place_in_pack(inner, "./runs/a@224") == f"{pack}/runs/a@224"
    assert place_in_pack(inner, "ViT-L-14:openai") == "ViT-L-14:openai"
    assert pack_of(pack.parent) is None and place_in_pack(pack.parent, "./runs/a") == "./runs/a"
    with pytest.raises(ValueError, match="leads out of it"):
        place_in_pack(inner, "./../secret")


def test_the_card_may_be_edited_and_nothing_else(pack):
    (pack / "README.md").write_text("my own card", encoding="utf-8")
    assert check_pack(pack)["run"] == "a"
    (pack / "runs" / "a" / "run.json").write_text("[]", encoding="utf-8")  # of the same size
    with pytest.raises(ValueError, match="runs/a/run.json is not as it was packed.*copy or download it again"):
        check_pack(pack)


def test_of_large_files_the_size_is_compared_and_every_byte_if_asked(pack, monkeypatch):
    monkeypatch.setattr("clipknight.packs.SMALL", 1)
    (pack / "runs" / "a" / "run.json").write_text("[]", encoding="utf-8")
    check_pack(pack)
    with pytest.raises(ValueError, match="is not as it was packed"):
        check_pack(pack, every_byte=True)


@pytest.mark.parametrize("files", [{"../x": {"bytes": 1, "sha256": ""}}, {"run.json": 3}, {"run.json": {"bytes": 2}}])
def test_a_manifest_of_others_is_read_with_doubt(pack, files):
    (pack / "pack.json").write_text(json.dumps({"files": files}), encoding="utf-8")
    with pytest.raises(ValueError, match="has no size and digest of"):
        check_pack(pack)
