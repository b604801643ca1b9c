"""1,000 captions of COCO's images with five references each, whose scores by COCO's own evaluation are known."""

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "coco_fakecap"


def read() -> tuple[dict[str, str], dict[str, list[str]]]:
    """Candidates and references by image id."""
    candidates, references = (
        json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")) for name in ("candidates", "references")
    )
    texts = {str(entry["image_id"]): entry["caption"] for entry in candidates}
    wanted = {}
    for entry in references["annotations"]:
        wanted.setdefault(str(entry["image_id"]), []).append(entry["caption"])
    return texts, wanted
