"""A ConfigMap as decisions see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sitelog.core.names import CONFIG_BASENAME

# In the order in which NVFlare looks (nvflare/fuel/utils/config.py, ConfigFormat.config_ext_formats).
EXTENSIONS: Final = (
    ".json",
    ".conf",
    ".yml",
    ".yaml",
    ".json.default",
    ".conf.default",
    ".yml.default",
    ".yaml.default",
)
CONFIG_KEYS: Final = tuple(CONFIG_BASENAME + extension for extension in EXTENSIONS)
MAX_BYTES: Final = 1024 * 1024  # of all keys' data together; the API server accepts no more


@dataclass(frozen=True)
class ConfigMap:
    """A ConfigMap as the decision sees it.

    `provenance` has the labels and annotations that an earlier decision wrote: those that the object comes with, or
    those of what is stored. In a cluster the API server takes away what others than Sitelog write there.
    `immutable` says that its stored data cannot be changed any more; not that a new object asks to become so.
    """

    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    binary_data: Mapping[str, bytes] = field(default_factory=dict)
    immutable: bool = False
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> set[str]:
        """What it holds something under."""
        return self.data.keys() | self.binary_data.keys()

    def content(self, key: str) -> bytes:
        """Return what it holds under one of its keys."""
        if key in self.binary_data:
            return self.binary_data[key]
        return self.data[key].encode("utf-8", "surrogatepass")

    @property
    def configurations(self) -> dict[str, bytes]:
        """The job configurations it holds, by key, in NVFlare's order."""
        return {key: self.content(key) for key in CONFIG_KEYS if key in self.data or key in self.binary_data}

    def __str__(self) -> str:
        return f"ConfigMap {self.namespace}/{self.name}"
