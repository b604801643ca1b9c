"""The sample in the layout of the competition Image to Prompts: one prompt a picture, and a submission to fill."""

import json
from pathlib import Path

from clipknight.data.caption_table import read_caption_table

from PIL import Image

DIM = 384  # numbers of a prompt's embedding


def write_competition(sample: Path, folder: Path) -> None:
    """Write the pictures of the drawn `sample` as `folder`/images/*.png, prompts.csv and sample_submission.csv.

    The test pictures have no prompt: the submission asks for them. Prompts differ in style: each takes another of the
    captions.
    """
    said = read_caption_table(sample / "captions.txt").rows.groupby("name", sort=False)["caption"].agg(list)
    scenes = json.loads((sample / "scenes.json").read_text(encoding="utf-8"))
    (folder / "images").mkdir(parents=True)
    prompts, rows = ["imgId,prompt\n"], ["imgId_eId,val\n"]
    for number, scene in enumerate(sorted(scenes, key=lambda scene: scene["id"])):
        Image.open(sample / "Images" / scene["file"]).save(folder / "images" / f"{scene['id']}.png")
        if scene["split"] == "test":
            rows += [f"{scene['id']}_{n},0.0\n" for n in range(DIM)]
        else:
            captions = said[scene["file"]]
            prompts.append(f'{scene["id"]},"{captions[number % len(captions)]}"\n')
    (folder / "prompts.csv").write_text("".join(prompts), encoding="utf-8")
    (folder / "sample_submission.csv").write_text("".join(rows), encoding="utf-8")
