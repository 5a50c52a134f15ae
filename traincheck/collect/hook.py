"""Waits for torch: starts the collector at the end of `import torch`, and knows when imports are under way."""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType


class _Loader(importlib.abc.Loader):
    """Loads torch as its own loader does, then starts the collector."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None:  # leave no trace of us on the module
            spec.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        from traincheck.collect.install import start_from_environment

        start_from_environment()


class _TorchFinder(importlib.abc.MetaPathFinder):
    """Finds torch through the other finders and wraps its loader; leaves `sys.meta_path` once it has."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "torch":
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


def watch_for_torch() -> None:
    """Start the collector as soon as this process has imported torch, or now if it has."""
    if "torch" in sys.modules:
        from traincheck.collect.install import start_from_environment

        start_from_environment()
    else:
        sys.meta_path.insert(0, _TorchFinder())
