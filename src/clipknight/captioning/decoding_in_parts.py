"""Captions by an engine's workers: whole batches of prefixes, which are the same in any number of workers."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from clipknight.caches import used_cache
from clipknight.devices import pick_device
from clipknight.engines.workers import Place, results, stretches
from clipknight.files import atomic_file, one_at_a_time
from clipknight.saved_files import read_description
from clipknight.waiting import SHOWN_AFTER, progress_bar, without_progress

import numpy as np
import torch

if TYPE_CHECKING:
    from clipknight.captioning.decoding import Decoder


class Beams(NamedTuple):
    """How captions are searched for: `count` of the best `num_beams`."""

    num_beams: int
    max_new_tokens: int
    count: int


@dataclass(frozen=True)
class Decoding:
    """The work: what `decoder` says after a part of the prefixes."""

    decoder: "Decoder"
    beams: Beams

    def ready(self, place: Place) -> Callable[[np.ndarray], list[str]]:
        decoder = replace(self.decoder, model=self.decoder.model.to(pick_device(place.device)))

        def of_part(prefixes: np.ndarray) -> list[str]:
            with without_progress():
                return decoder.decoded(prefixes, self.beams)

        return of_part


@dataclass(frozen=True, eq=False)
class PrefixParts:
    """The prefixes (n, p, D) of each of `bounds`, gathered as they are asked for."""

    prefixes: Sequence
    bounds: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.bounds)

    def __getitem__(self, number: int) -> np.ndarray:
        start, stop = self.bounds[number]
        return np.array(self.prefixes[start:stop], dtype=np.float32)

    def rows(self, number: int) -> int:
        start, stop = self.bounds[number]
        return stop - start


def captions_in_parts(decoder: "Decoder", prefixes: Sequence, beams: Beams) -> list[str]:
    """What `decoder.decoded` gives, by the engine's workers; a killed command goes on after the parts that are done."""
    parts = PrefixParts(prefixes, stretches(len(prefixes), decoder.batch_size))
    if len(parts) < 2:
        return decoder.decoded(prefixes, beams)
    folder = used_cache("embeddings") / "captions" / f"decoded-{_digest(decoder, parts, beams)}.partial"
    with one_at_a_time(folder):
        texts = _decoded(Decoding(decoder, beams), parts, folder)
        shutil.rmtree(folder)
    return texts


def _decoded(work: Decoding, parts: PrefixParts, folder: Path) -> list[str]:
    """The captions of all parts; those of each are kept in `folder` meanwhile."""
    files = [folder / f"{number}.json" for number in range(len(parts))]
    missing = [number for number, file in enumerate(files) if not file.is_file()]
    total, left = (sum(map(parts.rows, numbers)) for numbers in (range(len(parts)), missing))
    with progress_bar(total=total, initial=total - left, desc="captions", delay=SHOWN_AFTER) as bar:
        for number, texts in results(work, parts, missing, readers=0):
            with atomic_file(files[number]) as temporary:
                temporary.write_text(json.dumps({"captions": texts}), encoding="utf-8")
            bar.update(parts.rows(number))
    found = (read_description(file, f"delete {folder}", captions=(list,)) for file in files)
    return [text for part in found for text in part["captions"]]


def _digest(decoder: "Decoder", parts: PrefixParts, beams: Beams) -> str:
    """Of all that captions depend on."""
    digest = hashlib.sha256(repr((beams, decoder.batch_size, decoder.precision)).encode())
    for part in map(parts.__getitem__, range(len(parts))):
        digest.update(repr(part.shape).encode() + part.tobytes())
    for name, tensor in sorted(decoder.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:12]
