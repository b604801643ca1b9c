"""Packages that the project needs, as pyproject.toml promises them: the core, and the extras of single features."""

import importlib.metadata
import tomllib
from collections.abc import Iterator

from clipknight.doctor.finding import Finding
from clipknight.packs import check_pack
from clipknight.paths import IN_CHECKOUT, ROOT, STARTER, existing

from packaging.requirements import Requirement

PROJECT = "clipknight"


def core() -> Iterator[Finding]:
    """Whether each package of the core is there in a version that was promised, and torchvision made for this torch."""
    needed = [*_needed()[""], *_torch_of_torchvision()]
    wrong = {str(requirement): found for requirement in needed if (found := _wrong(requirement)) is not None}
    if not wrong:
        yield Finding("packages", f"all {len(_needed()[''])} of the core")
    for requirement, found in wrong.items():
        yield Finding("packages", f"{requirement} is needed, {found}", f'pip install "{requirement}"', "broken")


def extras() -> Finding:
    """Which extras are complete."""
    complete = {extra: not any(map(_wrong, needed)) for extra, needed in _needed().items() if extra}
    there = [extra for extra, whole in complete.items() if whole]
    others = [extra for extra, whole in complete.items() if not whole]
    value = ", ".join(there) or "none"
    if not others:
        return Finding("extras", value)
    return Finding("extras", f"{value}; not {', '.join(others)}", f'pip install "{PROJECT}[{others[0]}]" adds one')


def starter() -> Finding:
    """Whether the starter weights are there, whole."""
    folder = existing(STARTER).absolute()
    try:
        manifest = check_pack(folder)
    except (OSError, ValueError) as error:
        remedy = "git checkout input/models/starter" if IN_CHECKOUT else f"pip install --force-reinstall {PROJECT}"
        return Finding("starter", str(error).partition(": ")[0], remedy, "broken")
    size = sum(known["bytes"] for known in manifest["files"].values())
    return Finding("starter", f"{size / 1e6:.0f} MB in {folder}")


def _needed() -> dict[str, list[Requirement]]:
    """By extra, "" for the core; what an extra takes of others is left to them."""
    if IN_CHECKOUT:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        listed = {"": project["dependencies"], **project["optional-dependencies"]}
        needed = {extra: [*map(Requirement, texts)] for extra, texts in listed.items()}
    else:
        about = importlib.metadata.metadata(PROJECT)
        texts = [*map(Requirement, about.get_all("Requires-Dist"))]
        of_core = [text for text in texts if text.marker is None]
        needed = {"": of_core} | {
            extra: [text for text in texts if text.marker and text.marker.evaluate({"extra": extra})]
            for extra in about.get_all("Provides-Extra")
        }
    return {extra: [one for one in listed if one.name != PROJECT] for extra, listed in needed.items()}


def _torch_of_torchvision() -> list[Requirement]:
    """The torch that the installed torchvision was made for."""
    try:
        listed = importlib.metadata.requires("torchvision") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [one for one in map(Requirement, listed) if one.name == "torch" and one.marker is None]


def _wrong(requirement: Requirement) -> str | None:
    """What is there instead, None where it is met."""
    try:
        found = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
    return None if requirement.specifier.contains(found, prereleases=True) else f"{found} is there"
