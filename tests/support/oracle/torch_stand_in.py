"""As much of torch as NVFlare's PTFedOptModelShareableGenerator needs to start: the real one has gigabytes."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from nvflare import app_opt


class Module:
    """A model without parameters."""

    def __init__(self, **_: Any) -> None:
        pass

    def to(self, _device: Any) -> None:
        pass

    def parameters(self) -> list[Any]:
        return []


def put(patch: pytest.MonkeyPatch) -> None:
    """Have `import torch` find the stand-in until the patch is undone.

    NVFlare's package for torch is taken without its `__init__`, which imports all that is in it, and so all of torch.
    """
    torch, nn = types.ModuleType("torch"), types.ModuleType("torch.nn")
    nn.Module = nn.Linear = Module  # type: ignore[attr-defined]
    torch.nn, torch.device = nn, str  # type: ignore[attr-defined]
    torch.cuda = types.SimpleNamespace(is_available=lambda: False)  # type: ignore[attr-defined]
    package = types.ModuleType("nvflare.app_opt.pt")
    package.__path__ = [str(Path(app_opt.__file__).parent / "pt")]
    for module in (torch, nn, package):
        patch.setitem(sys.modules, module.__name__, module)
    patch.delitem(sys.modules, "nvflare.app_opt.pt.fedopt", raising=False)
