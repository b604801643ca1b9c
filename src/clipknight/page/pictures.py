"""What the page shows of a picture or a clip: small JPEGs, turned and coloured as a person would see them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from clipknight.data.animations import is_animation
from clipknight.data.images import UnreadableImage, read_image
from clipknight.data.shots import shots_of
from clipknight.data.video_decoding import evenly_spaced_frames
from clipknight.data.video_timeline import Shot
from clipknight.data.videos import is_video
from clipknight.page.limits import Limits

from PIL import Image

SIDE = 640  # pixels of the longer side of what is shown


@dataclass(frozen=True)
class Pictures:
    """`files` that show the picture or the clip at `path`; of one cut into `shots` equally many of each."""

    path: str
    files: list[str]
    is_clip: bool = False
    shots: list[Shot] | None = None


def pictures_of(path: str, frames: int, every: str, folder: Path, limits: Limits = Limits()) -> Pictures:
    """What shows the file, written to `folder`: of a clip, or of each shot, `frames`. UnreadableImage."""
    if not is_video(path):
        return Pictures(path, _written([read_image(path, at_least=SIDE)], folder))
    if is_animation(path):
        _check_animation(path, limits)
    shots = shots_of(path, every) if every else []
    if len(shots) > limits.shots:
        raise UnreadableImage(path, f"{len(shots)} shots are more than {limits.shots}: give a shorter clip")
    return Pictures(path, _written(evenly_spaced_frames(path, frames, shots), folder), True, shots)


def _written(pictures: Iterable[Image.Image], folder: Path) -> list[str]:
    """One after the other, for a film's frames are large."""
    own, files = Path(mkdtemp(dir=folder)), []
    for number, picture in enumerate(pictures):
        picture.thumbnail((SIDE, SIDE))
        picture.save(own / f"{number}.jpg", quality=88)
        files.append(str(own / f"{number}.jpg"))
    return files


def _check_animation(path: str, limits: Limits) -> None:
    """UnreadableImage for one whose frames would take minutes to draw."""
    with Image.open(path) as image:
        if (pixels := image.width * image.height * image.n_frames) > limits.animation:
            raise UnreadableImage(path, f"{pixels:,} pixels in all its frames are more than {limits.animation:,}")
