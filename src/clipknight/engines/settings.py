"""Settings of the engine; nothing heavy is imported here."""

from dataclasses import dataclass
from typing import Literal

from clipknight.devices import DeviceSettings
from clipknight.preparation import Engine
from clipknight.settings import without_effect

ENGINES = ("local", "ray")


@dataclass(frozen=True, kw_only=True)
class EngineSettings(DeviceSettings):
    """Settings of what many pictures or captions are encoded by"""

    engine: Literal[ENGINES] = without_effect("local", saved=False)
    """local (this process), or ray: workers on this machine, or on the cluster at --address (docs/scale.md)"""
    address: str = without_effect("", saved=False)
    """with --engine ray, on a machine of a cluster: auto, or its host:6379; by default Ray starts here and ends"""

    @property
    def where(self) -> Engine:
        """For `prepare_process`. ValueError for an address without Ray."""
        if self.address and self.engine != "ray":
            raise ValueError(f"--address {self.address} is of a Ray cluster: add --engine ray")
        return Engine(self.engine, self.address, self.device)
