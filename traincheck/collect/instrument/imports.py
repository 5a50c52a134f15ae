"""Acts on packages that training may import and we never do, as soon as they are there."""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

Action = Callable[[ModuleType], None]


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules that are waited for, through the finders after it, and has their actions run once loaded."""

    def __init__(self) -> None:
        self.actions: dict[str, Action] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        action = self.actions.pop(fullname, None)
        if action is None:
            return None
        if not self.actions:
            sys.meta_path.remove(self)
        for finder in list(sys.meta_path):
            spec = finder.find_spec(fullname, path, target) if finder is not self else None
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, action)
                return spec
        when_imported(fullname, action)  # nobody has it yet
        return None


class _Loader(importlib.abc.Loader):
    """Loads a module as its own loader does, then acts."""

    def __init__(self, loader: importlib.abc.Loader, action: Action) -> None:
        self._loader = loader
        self._action = action

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:  # leave no trace of us on the module
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._action(module)


_finder = _Finder()


def when_imported(name: str, action: Action) -> None:
    """Run `action` with the module `name` as soon as it is imported, at once when it is; `action` must not raise."""
    module = sys.modules.get(name)
    if module is not None:
        action(module)
        return
    _finder.actions[name] = action
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
