import json

import score
from clipknight.data.result_files import write_captions

import pytest


def test_the_most_confident_captions_score_higher_where_the_confidence_is_right(tmp_path, capsys):
    captions = {f"{i}.jpg": "a dog runs on grass" if i < 5 else "a cat" for i in range(10)}
    right = [f"{name},{['a dog runs on grass', 'two boats'][int(name[0]) >= 5]}" for name in captions]
    (tmp_path / "references.csv").write_text("\n".join(["image,caption", *right, ""]), encoding="utf-8")
    sure = {name: 0.9 - 0.01 * i if i < 5 else 0.3 for i, name in enumerate(captions)}
    out = tmp_path / "curve.json"
    for name in ("captions.csv", "captions.json"):
        write_captions(captions, tmp_path / name, confidences=sure)
        words = ["--candidates", str(tmp_path / name), "--references", str(tmp_path / "references.csv")]
        curve = score.main(["coverage", *words, "--out", str(out)])
        assert json.loads(out.read_text(encoding="utf-8")) == curve
        assert [point["images"] for point in curve] == [10, 9, 8, 5, 2, 1]
        whole, half = curve[0], curve[3]
        assert half["least"] == pytest.approx(0.86) and 0 < half["cider"] == pytest.approx(2 * whole["cider"])
    assert out.with_suffix(".png").stat().st_size > 5000 and "| 50% | 0.860 | 5 |" in capsys.readouterr().out


def test_captions_without_confidences(tmp_path):
    write_captions({"a.jpg": "a dog"}, tmp_path / "captions.csv")
    (tmp_path / "references.csv").write_text("image,caption\na.jpg,a dog\n", encoding="utf-8")
    words = ["--candidates", str(tmp_path / "captions.csv"), "--references", str(tmp_path / "references.csv")]
    with pytest.raises(SystemExit, match="captions.csv has no confidences: caption.py writes them"):
        score.main(["coverage", *words, "--out", str(tmp_path / "curve.json")])
