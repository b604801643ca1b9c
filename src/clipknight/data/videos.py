"""Videos as images: evenly spaced frames, decoded once into image files that everything which reads images can read."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clipknight.caches import used_cache
from clipknight.data.folders import VIDEO_SUFFIXES, suffix_of
from clipknight.data.left_out import UnreadableMedia, note_unreadable
from clipknight.data.video_decoding import evenly_spaced_frames
from clipknight.data.video_timeline import Shot, UnreadableVideo
from clipknight.files import atomic_folder
from clipknight.waiting import progress_bar

from PIL import Image


def is_video(path: str | Path) -> bool:
    """By suffix; of GIF and WebP files, those of more than one frame. One that can't be opened passes for a picture."""
    suffix = suffix_of(str(path))
    if suffix not in (".gif", ".webp"):
        return suffix in VIDEO_SUFFIXES
    try:
        with Image.open(path) as image:
            return getattr(image, "n_frames", 1) > 1
    except Exception:  # broken files raise errors of many types; reading it as a picture will tell
        return False


def read_frames(path: str | Path, count: int) -> list[Image.Image]:
    """`count` RGB frames in order: the middle ones of `count` parts of equally many frames.

    The middles leave out the very first and last, which are often black. Parts are equal in frames and not in seconds:
    a clip that rests on a frame shows it once. A clip of fewer frames repeats some. Frames are turned and stretched as
    the file says, with transparency over white.

    UnreadableVideo for whatever is missing, empty, or no video, for damage that the container or the decoder reports on
    the way to the frames, and for what is cut off: AVI, MP4, Matroska and their kin by the length in their header, of
    which a tenth may lack, GIF and WebP by their last frame. MPEG, FLV and WMV can end early without a trace.
    """
    return list(evenly_spaced_frames(str(path), count))


def frame_files(
    paths: Iterable[str | Path],
    count: int,
    cache: str | Path | None = None,
    workers: int = 2,
    skip_unreadable: bool = False,
    shots: Mapping[str, Sequence[Shot]] = {},
) -> dict[str, list[str]]:
    """The frames of `read_frames` as image files, by the path given, decoded by the first call only.

    Of a clip that has `shots`, so many frames of each, one shot after the other.

    PNG, twice as large as JPEG of quality 95, because that moved the embeddings of frames by up to .013 of cosine. The
    folder's name has a digest of the video's path, size and modification time, and of `count`. `workers` videos are
    decoded at a time. UnreadableMedia names those that failed, unless they are skipped.
    """
    cache = Path(cache or used_cache("frames"))
    shots_of = {str(path): shots.get(str(path), ()) for path in paths}
    folders = {path: _folder(path, count, cache, cut) for path, cut in shots_of.items()}
    todo = {
        folder: path for path, folder in folders.items() if len(_files(folder)) != count * max(1, len(shots_of[path]))
    }
    failed = {}
    cache.mkdir(parents=True, exist_ok=True)  # here, or a worker that fails takes it from the others
    with (
        progress_bar(total=len(todo), desc="frames", unit="video", disable=not todo) as bar,
        ThreadPoolExecutor(workers) as pool,
    ):
        cut = [shots_of[path] for path in todo.values()]
        reasons = pool.map(_write_frames, todo.values(), todo, [count] * len(todo), cut)
        for folder, reason in zip(todo, reasons, strict=True):
            bar.update()
            if reason:
                failed[folder] = reason
    unreadable = {path: failed[folder] for path, folder in folders.items() if folder in failed}
    if unreadable and not skip_unreadable:
        raise UnreadableMedia(unreadable, "video")
    if unreadable:
        note_unreadable("videos", unreadable, "video")
    return {path: _files(folder) for path, folder in folders.items() if path not in unreadable}


def _folder(path: str, count: int, cache: Path, shots: Sequence[Shot]) -> Path:
    try:
        stat = os.stat(path)
        state = f"{stat.st_size}\t{stat.st_mtime_ns}"
    except OSError:
        state = "missing"  # which decoding will report
    key = f"{os.path.abspath(path)}\t{state}\t{count}" + "".join(f"\t{shot.start}-{shot.end}" for shot in shots)
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    return cache / f"{Path(path).stem[:40]}-{digest}"  # cut, for names have a greatest length


def _files(folder: Path) -> list[str]:
    return sorted(map(str, folder.glob("*.png")))


def _write_frames(path: str, folder: Path, count: int, shots: Sequence[Shot]) -> str | None:
    """One video's frames into `folder`; the reason if they can't be read."""
    digits = len(str(count * max(1, len(shots)) - 1))
    try:
        with atomic_folder(folder) as temporary:
            for number, frame in enumerate(evenly_spaced_frames(path, count, shots)):
                frame.save(temporary / f"{number:0{digits}}.png", compress_level=1)  # a sixth larger, thrice as fast
    except UnreadableVideo as error:
        return error.reason
    return None
