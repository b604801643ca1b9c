"""A pack is made: its contents, measured against the run, under a manifest."""

from pathlib import Path

from clipknight import __version__
from clipknight.captioning.retriever import CorpusChoice
from clipknight.embedding.cache import target_fingerprint
from clipknight.embedding.target_encoder import load_target_encoder
from clipknight.files import atomic_folder
from clipknight.packing.agreement import Agreement, agreement
from clipknight.packing.contents import Contents
from clipknight.packs import CARD, write_manifest
from clipknight.training.card import card_of
from clipknight.training.run_datasets import dataset_of
from clipknight.training.runs import Run

IN_BITS = {32: "the run's own precision", 16: "16 bits", 8: "16 bits, what is looked up in 8"}


def write_pack(
    run: Run,
    out: Path,
    bits: int = 32,
    corpus: CorpusChoice = CorpusChoice(),
    source: str = "",
    licence: str = "other",
    device: str = "auto",
) -> Agreement:
    """Write `run` with all that it stands on into `out`, which appears whole; how well the pack agrees with the run.

    Numbers have so many `bits`, see Contents. `corpus` and `source` replace what a run that captions retrieves from,
    and what embeds for it. ValueError where the pack would not do what the run does.
    """
    target = load_target_encoder(run.part(dataset_of(run).target_encoder), device)
    with atomic_folder(out) as folder:
        write_manifest(folder)  # from here on ./names are places in it
        contents = Contents(folder, bits, device)
        contents.add(run, corpus, source)
        about = {"run": run.name, "clipknight": __version__, "bits": bits, "packages": contents.versions()}
        about["target_encoder"] = {"name": contents.target_encoder(run), "fingerprint": target_fingerprint(target)}
        write_manifest(folder, **about)
        found = agreement(run, Run(folder), corpus, source, device)
        found.refuse_if_poor(bits)
        write_manifest(folder, **about, agreement=found.as_dict())
        card = card_of(run, "FOLDER", licence, _section(about, found), Run(folder).kind)
        (folder / CARD).write_text(card, encoding="utf-8")
        for file in filter(Path.is_file, folder.rglob("*")):
            file.chmod(0o644)  # safetensors leaves its files to their owner alone
    return found


def _section(about: dict, found: Agreement) -> str:
    """What the card says of the pack."""
    target, bits = about["target_encoder"], IN_BITS[about["bits"]]
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    lines = [
        f"This folder holds the run {about['run']} with all that it stands on, weights in {bits}. It is used by its",
        "path wherever clipknight takes a run's name, and nothing is written into it. `pack.json` has each file's",
        "size and SHA-256: `python src/pack.py --check FOLDER` compares them all.",
        "",
        f"- The pack against the run: {found}.",
        f"- Target encoder: {target['name']}, weights {target['fingerprint']}.",
        *([f"- Weights that come in packages and are not in here: {packages}."] if packages else []),
    ]
    return "## Pack\n\n" + "\n".join(lines)
