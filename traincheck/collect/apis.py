"""Names of APIs, how their arguments are bound to parameter names, and which base methods they override."""

import inspect
from collections.abc import Callable
from typing import Any

from traincheck.collect.buffers import Buffers
from traincheck.collect.calls import Api
from traincheck.collect.needs import Needs
from traincheck.collect.summaries import qualified

_SKIPPED_BASES = frozenset((object,))


class Apis:
    """Interns API names and writes what generalises what."""

    def __init__(self, buffers: Buffers, needs: Needs) -> None:
        self._buffers = buffers
        self._needs = needs
        self._functions: dict[str, Api] = {}
        self._methods: dict[tuple[type, str], Api] = {}

    def function(self, name: str, names: tuple[str, ...]) -> Api:
        """The API of a plain function known to users as `name`."""
        found = self._functions.get(name)
        if found is None:
            found = self._functions[name] = Api(self._buffers.names(name), name, names, self._needs.wants_api((name,)))
        return found

    def method(self, cls: type, method: str) -> Api:
        """The API of `method` called on an instance of `cls`, with the methods of base classes it stands for."""
        found = self._methods.get((cls, method))
        if found is None:
            name = f"{qualified(cls)}.{method}"
            bases = [
                f"{qualified(base)}.{method}" for base in cls.__mro__[1:] if getattr(base, method, None) is not None
            ]
            bases = [base for base in bases if not base.startswith("object.")]
            names = signature_names(getattr(cls, method))[1:]
            found = Api(self._buffers.names(name), name, names, self._needs.wants_api((name, *bases)))
            self._methods[cls, method] = found
            for base in bases:
                self._buffers.add("subclasses", found.number, self._buffers.names(base))
        return found


def signature_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the parameters that can be passed by position; `*args` ends them."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(parameter.name for parameter in parameters if parameter.kind in positional)


def bind(
    names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Names and values of what was passed explicitly."""
    count = len(args)
    bound = names[:count]
    if count > len(names):
        bound += tuple(f"args.{index}" for index in range(count - len(names)))
    if kwargs:
        return bound + tuple(kwargs), args + tuple(kwargs.values())
    return bound, args
