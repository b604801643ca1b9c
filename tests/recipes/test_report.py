"""The page about an ensemble, whatever its runs, images and captions are called."""

import json
import re
import shutil
from html import escape

import blend
import report
from clipknight.training.runs import Run

import pytest

HOSTILE = "<script>alert(1)</script> & $\\nosuch{x$"
MEMBERS = ["report/_hid", "report/<img src=x onerror=alert(1)>", "report/$\\nosuch{x$"]


@pytest.fixture(scope="module")
def argv(coloured, colour_encoder, image_run, outputs, tmp_path_factory):
    """Flags for an ensemble of three such names, on a dataset with four training captions and hostile valid ones."""
    data = shutil.copytree(coloured, tmp_path_factory.mktemp("report") / "data")
    lines = (data / "captions.txt").read_text(encoding="utf-8").splitlines()
    train = [f"train0{i}.png" for i in range(4)]
    first = [next(line for line in lines if line.startswith(name)) for name in train]
    held = [re.sub(r"^(dev.*?),.*", lambda found: f"{found[1]},{HOSTILE}", line) for line in lines[1:]]
    kept = [lines[0], *first, *(line for line in held if not line.startswith("train"))]
    (data / "captions.txt").write_text("\n".join(kept) + "\n", encoding="utf-8")
    (data / "Flickr_8k.trainImages.txt").write_text("\n".join(train) + "\n", encoding="utf-8")
    for name in MEMBERS:
        shutil.copytree(Run.open(image_run).folder, outputs / name)
    words = [f"--data={data}", f"--target_encoder={colour_encoder}", "--device=cpu"]
    blend.main([*words, "--members", *MEMBERS, "--weights", "1", "1", "1", "--run=report/both"])
    return [*words, "--run=report/both"]


def test_names_and_captions_are_shown_and_never_part_of_the_page(argv, coloured, tmp_path):
    picture = str(coloured / "Images" / "test00.png")
    captions = [{"image_id": HOSTILE, "caption": HOSTILE, "neighbours": [[HOSTILE, 0.5]], "pictures": [picture]}]
    (tmp_path / "captions.json").write_text(json.dumps(captions), encoding="utf-8")
    report.main([*argv, f"--out={tmp_path / 'page.html'}", "--captions", str(tmp_path / "captions.json")])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in page and "<img src=x" not in page
    assert all(page.count(escape(name)) > 1 for name in MEMBERS) and page.count(escape(HOSTILE)) > 4
    cosines = [float(number) for number in re.findall(r"<small>(-?[\d.]+)</small>", page)]
    assert len(cosines) > 20 and max(map(abs, cosines)) <= 1.0  # four captions, and no stand-in for a fifth


@pytest.mark.parametrize(
    "content",
    ["{}", "[1]", '[{"image_id": "a"}]', '[{"image_id": 1, "caption": "a", "neighbours": [], "pictures": ["a"]}]',
     '[{"image_id": "a", "caption": "a", "neighbours": [["b"]], "pictures": ["a"]}]'],
)  # fmt: skip
def test_another_json_is_refused(argv, tmp_path, content):
    (tmp_path / "captions.json").write_text(content, encoding="utf-8")
    with pytest.raises(SystemExit, match="captions.json is no JSON of captions .*: make it with caption.py --out"):
        report.main([*argv, f"--out={tmp_path / 'page.html'}", "--captions", str(tmp_path / "captions.json")])
    assert not (tmp_path / "page.html").exists()


def test_runs_that_are_no_ensemble_or_have_lost_their_scores(argv, image_run, outputs, tmp_path):
    out = f"--out={tmp_path / 'page.html'}"
    with pytest.raises(SystemExit, match=f"run '{image_run}' is no ensemble: --run names a run of blend.py"):
        report.main([*argv, out, f"--run={image_run}"])
    shutil.copytree(outputs / "report" / "both", outputs / "report" / "odd")
    scores = outputs / "report" / "odd" / "scores.csv"
    for content in ("", "a,b\n1,2\n", "member,avg_cos,weight\na,high,1\n"):
        scores.write_text(content, encoding="utf-8")
        with pytest.raises(SystemExit, match="scores.csv holds no scores of members: make the run again by src/blend"):
            report.main([*argv, out, "--run=report/odd"])
