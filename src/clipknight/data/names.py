"""Names of files, as tables write them and as disks have them: which file a name means."""

import unicodedata

import numpy as np
import pandas as pd


def ids_of(files: pd.Series) -> pd.Series:
    """The files without their suffix."""
    return files.str.replace(r"\.[^./]+$", "", regex=True)


def folded(names: pd.Series) -> pd.Series:
    """Names as any reader sees them: macOS writes é as e and an accent, and other systems tell A.JPG from a.jpg."""
    return names.map(lambda name: unicodedata.normalize("NFC", name).casefold())


def positions(names: pd.Series, files: pd.Series) -> np.ndarray:
    """(N,) the file of each name, equal or without its suffix; else the only one equal but for its folding; -1."""
    ids = ids_of(files)
    at = _first_found(names, files, ids)
    if (lost := at < 0).any() and len(files):
        at[lost] = _first_found(folded(names[lost]), folded(files), folded(ids))
    return at


def variants(name: str) -> list[str]:
    """Other ways to write a name: Unicode's two forms, each with its suffix in small and in capital letters."""
    forms = [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
    stems = [form.rpartition(".") for form in forms]
    return [*forms, *(f"{stem}{dot}{turn(end)}" for stem, dot, end in stems for turn in (str.lower, str.upper))]


def _first_found(names: pd.Series, *keys: pd.Series) -> np.ndarray:
    """(N,) the position of each name in the first of `keys` that has it once."""
    at = np.full(len(names), -1)
    for key in keys:
        once = np.flatnonzero(~pd.Index(key).duplicated(keep=False))
        if len(once):
            found = pd.Index(key.iloc[once]).get_indexer(names)
            at = np.where((at < 0) & (found >= 0), once[found], at)
    return at
