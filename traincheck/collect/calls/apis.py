"""Names of APIs, how their arguments are bound to parameter names, and which base methods they override."""

import inspect
from collections.abc import Callable
from typing import Any

from traincheck.collect.buffers import Buffers
from traincheck.collect.calls.summaries import SetTable, qualified
from traincheck.collect.needs import Needs, matches

_NOTHING: frozenset[str] = frozenset()


_MOST_PLANS = 256
"""Of one API; functions may be called with any keywords."""

Plan = tuple[SetTable, tuple[str, ...], list[int]]


class Api:
    """One API name, what is asked of its calls, and the sets its arguments and results have been seen as.

    `wanted` says whether its calls are recorded; `takes` and `gives` whether with their arguments and results, `linked`
    and `hashed` whether with which tensors these are and with which values; `only` are the arguments, unless all.
    """

    __slots__ = (
        "_plans", "_tables", "args", "gives", "group", "hashed", "linked", "name", "names", "number", "only",
        "results", "takes", "users", "wanted",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        known: tuple[str, ...],
        names: tuple[str, ...],
        needs: Needs,
        optional: frozenset[str],
        users: bool,
    ) -> None:
        self.number = number
        self.name = known[0]
        self.names = names
        self.wanted = needs.wants_api(known)
        self.only = needs.arguments(known)
        self.takes, self.gives = self.only is None or bool(self.only), matches(needs.results, known)
        self.linked, self.hashed = matches(needs.tensors, known), matches(needs.fingerprints, known)
        self.group = ""
        self.users = users  # whether its code is the user's, so that what it calls has a site of its own
        self.args = SetTable(optional)
        self._tables: dict[tuple[str, ...], SetTable] = {}  # of calls with other arguments than `names`
        self.results = SetTable()
        self._plans: dict[tuple[int, tuple[str, ...]], Plan] = {}

    def plan(self, count: int, keywords: tuple[str, ...]) -> Plan:
        """How calls with `count` positional arguments and these keywords are described, as far as is asked for.

        The set table, the names, and where the values stand among all that is passed. What `*args` takes is called
        args.0 and so on.
        """
        key = count, keywords
        found = self._plans.get(key)
        if found is None:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            found = self._plans[key] = self._planned(count, keywords)
        return found

    def _planned(self, count: int, keywords: tuple[str, ...]) -> Plan:
        more = tuple([f"args.{index}" for index in range(count - len(self.names))]) + keywords
        every = self.names[:count] + more
        places = [place for place, name in enumerate(every) if self.only is None or name.partition(".")[0] in self.only]
        names = tuple([every[place] for place in places])
        if not more:
            return self.args, names, places
        table = self._tables.get(names)
        if table is None:
            table = self._tables[names] = SetTable(self.args.optional)
        return table, names, places

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[SetTable, tuple[str, ...], tuple[Any, ...]]:
        """The set table, names and values of what was passed, as far as is asked for."""
        table, names, places = self.plan(len(args), tuple(kwargs))
        every = (*args, *kwargs.values())
        return table, names, every if len(places) == len(every) else tuple([every[place] for place in places])


class Apis:
    """Interns API names and writes what generalises what."""

    def __init__(self, buffers: Buffers, needs: Needs, is_user_file: Callable[[str], bool]) -> None:
        self._is_user_file = is_user_file
        self._buffers = buffers
        self._needs = needs
        self._functions: dict[str, Api] = {}
        self._methods: dict[tuple[type, str], Api] = {}

    def function(self, name: str, signature: Callable[..., Any] | tuple[str, ...]) -> Api:
        """The API of a plain function known to users as `name`; `signature` is that of a callable, or the names."""
        found = self._functions.get(name)
        if found is None:
            names, optional = (signature, _NOTHING) if isinstance(signature, tuple) else signature_names(signature)
            found = self._functions[name] = self._new((name,), names, optional, False)
        return found

    def method(self, cls: type, method: str) -> Api:
        """The API of `method` called on an instance of `cls`, with the methods of base classes it stands for."""
        found = self._methods.get((cls, method))
        if found is None:
            name = f"{qualified(cls)}.{method}"
            inherited = getattr(object, method, None)
            bases = [base for base in cls.__mro__[1:] if getattr(base, method, inherited) is not inherited]
            known = (name, *(f"{qualified(base)}.{method}" for base in bases))
            defined = inspect.getattr_static(cls, method)  # to be asked for it, a scripted module would need an object
            names, optional = signature_names(defined)
            code = _code_of(defined)
            users = code is not None and self._is_user_file(code.co_filename)
            found = self._methods[cls, method] = self._new(known, names[1:], optional, users)
        return found

    def overridden(self, cls: type, base: type, method: str) -> None:
        """Write whose version of a method of `base` the objects of `cls` have, unless it is torch's."""
        owner = next((owner for owner in cls.__mro__ if method in owner.__dict__), base)
        if not owner.__module__.startswith("torch."):
            intern, name = self._buffers.names, qualified
            self._buffers.add(
                "overrides", intern(name(cls)), intern(f"{name(owner)}.{method}"), intern(f"{name(base)}.{method}")
            )

    def _new(self, known: tuple[str, ...], names: tuple[str, ...], optional: frozenset[str], users: bool) -> Api:
        """Intern an API, and write that its calls are calls of each name in `known`.

        Its own name comes first among them, because rules ask for a base and for the method itself alike.
        """
        intern = self._buffers.names
        api = Api(intern(known[0]), known, names, self._needs, optional, users)
        for base in known:
            self._buffers.add("subclasses", api.number, intern(base))
        return api


def signature_names(function: Callable[..., Any]) -> tuple[tuple[str, ...], frozenset[str]]:
    """The parameters that can be passed by position, and those whose default is None."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except Exception:  # what stands for a function may be anything, and fail in its own way
        return (), _NOTHING
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = tuple(parameter.name for parameter in parameters if parameter.kind in positional)
    return names, frozenset(parameter.name for parameter in parameters if parameter.default is None)


def _code_of(function: Any) -> Any:
    """The code inside of a function's decorators; None where there is none."""
    try:
        return getattr(inspect.unwrap(function), "__code__", None)
    except Exception:  # as above
        return None
