"""Names of APIs, how their arguments are bound to parameter names, and which base methods they override."""

import inspect
from collections.abc import Callable
from typing import Any

from traincheck.collect.buffers import Buffers
from traincheck.collect.calls import Api
from traincheck.collect.needs import Needs
from traincheck.collect.summaries import qualified

_NOTHING: frozenset[str] = frozenset()


class Apis:
    """Interns API names and writes what generalises what."""

    def __init__(self, buffers: Buffers, needs: Needs) -> None:
        self._buffers = buffers
        self._needs = needs
        self._functions: dict[str, Api] = {}
        self._methods: dict[tuple[type, str], Api] = {}

    def function(self, name: str, signature: Callable[..., Any] | tuple[str, ...]) -> Api:
        """The API of a plain function known to users as `name`; `signature` is that of a callable, or the names."""
        found = self._functions.get(name)
        if found is None:
            names, optional = (signature, _NOTHING) if isinstance(signature, tuple) else signature_names(signature)
            wanted = self._needs.wants_api((name,))
            found = self._functions[name] = Api(self._buffers.names(name), name, names, wanted, optional)
            self._generalises(found, (name,))
        return found

    def method(self, cls: type, method: str) -> Api:
        """The API of `method` called on an instance of `cls`, with the methods of base classes it stands for."""
        found = self._methods.get((cls, method))
        if found is None:
            name = f"{qualified(cls)}.{method}"
            inherited = getattr(object, method, None)
            bases = [base for base in cls.__mro__[1:] if getattr(base, method, inherited) is not inherited]
            known = (name, *(f"{qualified(base)}.{method}" for base in bases))
            names, optional = signature_names(getattr(cls, method))
            found = Api(self._buffers.names(name), name, names[1:], self._needs.wants_api(known), optional)
            self._methods[cls, method] = found
            self._generalises(found, known)
        return found

    def _generalises(self, api: Api, names: tuple[str, ...]) -> None:
        """Write that a call of `api` is one of each of `names`, its own included: rules ask for base and own alike."""
        for name in names:
            self._buffers.add("subclasses", api.number, self._buffers.names(name))


def signature_names(function: Callable[..., Any]) -> tuple[tuple[str, ...], frozenset[str]]:
    """The parameters that can be passed by position, and those whose default is None."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return (), _NOTHING
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = tuple(parameter.name for parameter in parameters if parameter.kind in positional)
    return names, frozenset(parameter.name for parameter in parameters if parameter.default is None)


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
