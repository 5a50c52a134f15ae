"""Replaces the code of a Python function by a call to ours, leaving the function object as it is.

Whoever imported the function before sees the change, and its identity, signature, defaults and pickled name
stay, as do the tables of torch that are keyed by functions.
"""

from collections.abc import Callable
from functools import partial
from types import CodeType, FunctionType
from typing import Any, Self

import torch

from traincheck.collect.compiled import NATIVE
from traincheck.collect.instrument.untraced import pass_over

_VARARGS, _VARKEYWORDS = 0x04, 0x08
_TORCH = "__torch_of_traincheck"
"""A name that no parameter has."""
_RECORD = "record"
_BODY = f"return ('{_RECORD}' if 1 else 0)({{passed}}); {{free}}"
"""What is never reached keeps the free variables that the function has.

Python warns of a string that is called, and forgets which warnings it has given when one is to be ignored for a while.
"""
_COMPILED_BODY = f"return ((lambda: {{free}}) if {{torch}}.compiler.is_dynamo_compiling() else '{_RECORD}')({{passed}})"


def clone(function: FunctionType) -> FunctionType:
    """A second function with the code, defaults and closure that `function` has now."""
    copy = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__qualname__ = function.__qualname__
    copy.__module__ = function.__module__
    copy.__annotations__ = function.__annotations__
    return copy


def is_fixed(code: CodeType) -> bool:
    """Whether the function takes only parameters that can be passed by position."""
    return not (code.co_flags & (_VARARGS | _VARKEYWORDS)) and code.co_kwonlyargcount == 0


def parameter_names(code: CodeType) -> tuple[str, ...]:
    """The names of the parameters that can be passed by position."""
    return code.co_varnames[: code.co_argcount]


def trampoline(
    function: FunctionType, old: CodeType, record: Callable[..., Any], original: FunctionType, compiling: bool
) -> CodeType:
    """Code that lets `function`, whose own code is `old`, call `record` with its parameters.

    When `compiling`, it runs the old code under dynamo. Dynamo may look into the function, and the function may be sent
    to another process as it is written. So dynamo meets nothing but old code and a question to torch, which is
    imported where the function cannot see it; who does not compile is spared the question, which costs as much as a
    recorder that has nothing to do. Whoever pickles the new code gets `original` in place of `record`.
    """
    body, name = _BODY, "torch"
    if compiling:
        body = _COMPILED_BODY
        if function.__globals__.get(name) is not torch or name in (*old.co_varnames, *old.co_freevars):
            name, body = _TORCH, f"import torch as {_TORCH}; {body}"
    stands = record if NATIVE is not None and type(record) is NATIVE.Recorder else _Recorder(record, original)
    new = _passing_on(old, body, name, stands)
    pass_over(new)
    return new


class _Recorder(partial[Any]):
    """A recorder among the constants of code; pickled as the function that it stands before, as compiled ones are."""

    def __new__(cls, record: Callable[..., Any], original: FunctionType) -> Self:
        found = super().__new__(cls, record)
        found.__dict__["original"] = original
        return found

    def __reduce__(self) -> Any:
        return getattr, (self.__dict__["original"], "__call__")


def _passing_on(code: CodeType, body: str, torch_name: str, record: Callable[..., Any]) -> CodeType:
    """Code of the same parameters and free variables that passes everything on; all of it on the `def` line.

    In `body` the string 'record' becomes `record`, and the code of a lambda `code`.
    """
    parameters, passed = _signature(code)
    free = ", ".join(code.co_freevars)
    kept = f"({free},)" if free else "None"
    body = body.format(passed=", ".join(passed), free=kept, torch=torch_name)
    source = f"def outer({free}):\n def {code.co_name}({', '.join(parameters)}): {body}\n"
    module = compile(source, code.co_filename, "exec")
    outer = next(const for const in module.co_consts if isinstance(const, CodeType))
    inner = next(const for const in outer.co_consts if isinstance(const, CodeType))
    return inner.replace(
        co_consts=tuple(
            code if isinstance(const, CodeType) else record if const == _RECORD else const for const in inner.co_consts
        ),
        co_firstlineno=code.co_firstlineno,
        co_name=code.co_name,
        co_qualname=code.co_qualname,
    )


def _signature(code: CodeType) -> tuple[list[str], list[str]]:
    """The parameters of a function, and how they are passed on."""
    names = code.co_varnames
    positional, keyword_only = code.co_argcount, code.co_kwonlyargcount
    parameters = list(names[:positional])
    passed = list(parameters)
    if code.co_posonlyargcount:
        parameters.insert(code.co_posonlyargcount, "/")
    rest = positional + keyword_only
    if code.co_flags & _VARARGS:
        parameters.append("*" + names[rest])
        passed.append("*" + names[rest])
        rest += 1
    elif keyword_only:
        parameters.append("*")
    for name in names[positional : positional + keyword_only]:
        parameters.append(name)
        passed.append(f"{name}={name}")
    if code.co_flags & _VARKEYWORDS:
        parameters.append("**" + names[rest])
        passed.append("**" + names[rest])
    return parameters, passed
