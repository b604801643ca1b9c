"""Pack a run with all that it stands on into one folder, which predicts and captions anywhere, read-only too.

A pack stands wherever a run's name does: `predict.py --run FOLDER`, `caption.py --run FOLDER`, a member of a blend.

    python src/pack.py --run ensemble --out outputs/packs/ensemble
    python src/pack.py --run knight --from ensemble --out outputs/packs/knight --half
    python src/pack.py --check outputs/packs/ensemble --push org/name
"""

from dataclasses import dataclass, field
from pathlib import Path

from clipknight.devices import DeviceSettings
from clipknight.errors import parse_early, user_errors
from clipknight.ranges import Share
from clipknight.settings import parse


@dataclass(frozen=True, kw_only=True)
class Settings(DeviceSettings):
    """Settings of pack.py"""

    run: str = ""
    """run to pack: an ensemble, a Model A or B, a Knight, an adapted encoder, or a pack"""
    out: str = ""
    """folder of the pack"""
    half: bool = False
    """store weights, keys and vectors in 16 bits; refused where predictions then differ by a cosine below .9999"""
    eight_bits: bool = False
    """the same, and store the vectors of captions and images, which are looked up, in 8 bits; refused below .995"""
    from_: str = ""
    """of a run that captions: what embeds for it, a run or an encoder, in place of its own"""
    corpus: list[str] = field(default_factory=list)
    """of a run that captions: what it retrieves from, in place of its own: datasets, coco, files of captions"""
    corpus_share: Share = 0.0
    """share of the corpus' images whose captions are packed; 0 for the run's own"""
    license: str = "other"
    """the card's licence, by the hub's name for it, such as cc-by-4.0; it is yours to state"""
    check: str = ""
    """instead: a pack whose files are all compared with its manifest, byte by byte"""
    push: str = ""
    """org/name on the hub, where the pack is uploaded, private if it is new; --run hf-hub:org/name loads it"""
    overwrite: bool = False
    """replace a pack"""


def check(s: Settings) -> None:
    """ValueError for settings that say nothing, or contradict each other."""
    if bool(s.check) == bool(s.run) or bool(s.run) != bool(s.out):
        raise ValueError("say what to pack, --run RUN --out FOLDER; or which pack to check, --check FOLDER")


if __name__ == "__main__":
    parse_early(Settings, __doc__, check=check)  # --help and typos, before the parts load

from clipknight.captioning.retriever import CorpusChoice
from clipknight.files import check_replaceable
from clipknight.output_names import check_output
from clipknight.packing.pack import write_pack
from clipknight.packing.publishing import push_pack
from clipknight.packs import MANIFEST, check_pack, pack_of
from clipknight.preparation import prepare_process
from clipknight.training.runs import Run


@user_errors
def main(argv=None) -> Path:
    s = parse(Settings, argv, __doc__)
    prepare_process()
    check(s)
    if s.check:
        return pushed(checked(Path(s.check)), s.push)
    out = Path(s.out)
    check_replaceable(out, MANIFEST, "pack", s.overwrite)
    run = Run.open(s.run)
    check_output("--out", out, (), *run.files)
    corpus = CorpusChoice(s.corpus, share=s.corpus_share)
    found = write_pack(run, out, 8 if s.eight_bits else 16 if s.half else 32, corpus, s.from_, s.license, s.device)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"{run.name} and its pack, {found}")
    print(f"{size / 1e6:.1f} MB -> {out}")
    return pushed(out, s.push)


def checked(folder: Path) -> Path:
    """The folder, if it is a pack and whole."""
    if pack_of(folder) != folder.absolute():
        raise ValueError(f"{folder} is no pack: it has no pack.json; make one by src/pack.py --run RUN --out {folder}")
    manifest = check_pack(folder, every_byte=True)
    print(f"{folder}: {len(manifest['files']):,} files, all as they were packed from the run {manifest['run']}")
    return folder


def pushed(folder: Path, repository: str) -> Path:
    """The folder, uploaded if a repository is named."""
    if repository:
        print(f"{folder} -> {push_pack(folder, repository)}")
    return folder


if __name__ == "__main__":
    main()
