"""A stand-in for PyTorch: NVFlare's own classes import, and build a model with an optimizer; nothing computes."""

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class Module:
    """torch.nn.Module, as far as a model without parameters goes."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def to(self, _: Any) -> "Module":
        return self

    def parameters(self) -> list[Any]:
        return []


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Module,), {})


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.startswith("torch.") else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        module.Module = Module  # type: ignore[attr-defined]


sys.meta_path.insert(0, _Finder())


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (Module,), {})
