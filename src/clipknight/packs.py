"""Packs: a run with all that it stands on in one folder, which works anywhere; `src/pack.py` makes them.

pack.json, the manifest, says what is in it: each file's size and SHA-256. In a pack, a name that begins with ./ is a
place in it: that of a blend's member, of a Model B's encoder, of what embeds for Knight.
"""

import hashlib
import json
from pathlib import Path

from clipknight.files import atomic_file
from clipknight.saved_files import Description, read_description

MANIFEST = "pack.json"
CARD = "README.md"  # its owner may edit it: it has no digest
SMALL = 1 << 20  # bytes; files up to this size are read when a pack is opened, of larger ones the size is compared
REMEDY = "the pack is damaged: copy or download it again, or make it again by src/pack.py"


def pack_of(folder: str | Path) -> Path | None:
    """The pack that `folder` is, or lies in."""
    folder = Path(folder).absolute()
    return next((above for above in (folder, *folder.parents) if (above / MANIFEST).is_file()), None)


def place_in_pack(folder: str | Path, name: str) -> str:
    """What is called `name` by what lies in `folder`: the path of ./name in a pack, elsewhere the name as it is."""
    pack = pack_of(folder) if name.startswith("./") else None
    if pack is None:
        return name
    if ".." in name.split("/"):
        raise ValueError(f"{pack} names {name[:80]!r}, which leads out of it: {REMEDY}")
    return str(pack / name.removeprefix("./"))


def write_manifest(pack: Path, **about) -> None:
    """Write the manifest of all files in `pack`, with what else is to be known `about` it."""
    files = {path.relative_to(pack).as_posix(): path for path in sorted(pack.rglob("*")) if path.is_file()}
    entries = {
        name: {"bytes": path.stat().st_size, "sha256": _digest(path)}
        for name, path in files.items()
        if name not in (MANIFEST, CARD)
    }
    with atomic_file(pack / MANIFEST) as temporary:
        temporary.write_text(json.dumps({**about, "files": entries}, indent=1), encoding="utf-8")


def read_manifest(pack: Path) -> Description:
    return read_description(pack / MANIFEST, REMEDY, files=(dict,))


def check_pack(pack: Path, every_byte: bool = False) -> Description:
    """The manifest. One line for the first file that is not as it says: FileNotFoundError, ValueError.

    Large files are read only for `every_byte`; of each, the size is compared.
    """
    manifest = read_manifest(pack)
    for name, known in manifest["files"].items():
        if not isinstance(known, dict) or {"bytes", "sha256"} - known.keys() or ".." in Path(name).parts:
            raise ValueError(f"{pack / MANIFEST} has no size and digest of {name[:80]!r}: {REMEDY}")
        file = pack / name
        if not file.is_file():
            raise FileNotFoundError(f"{file} is not there: {REMEDY}")
        size = file.stat().st_size
        if size != known["bytes"]:
            raise ValueError(f"{file} has {size:,} bytes, not {known['bytes']:,} as when it was packed: {REMEDY}")
        if (every_byte or size <= SMALL) and _digest(file) != known["sha256"]:
            raise ValueError(f"{file} is not as it was packed, its digest differs: {REMEDY}")
    return manifest


def _digest(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
