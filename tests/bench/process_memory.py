"""What a process takes of the machine, as the kernel tells it."""

import re
from dataclasses import dataclass
from pathlib import Path

MIB = 1024  # KiB, which the kernel counts in


@dataclass(frozen=True)
class Memory:
    """Resident memory in MiB, its peak so far, and open files and sockets."""

    resident: float
    peak: float
    files: int
    sockets: int

    @classmethod
    def of(cls, pid: int) -> "Memory":
        status = Path(f"/proc/{pid}/status").read_text()
        resident, peak = (int(_found(rf"{word}:\s+(\d+) kB", status)) / MIB for word in ("VmRSS", "VmHWM"))
        opened = [_target(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        return cls(resident, peak, len(opened), sum(target.startswith("socket:") for target in opened))


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"no {pattern!r} in /proc")
    return found[1]


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except FileNotFoundError:  # closed meanwhile
        return ""
