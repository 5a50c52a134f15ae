"""Replaces the code of a Python function by a call to ours, leaving the function object as it is.

Whoever imported the function before sees the change, and its identity, signature, defaults and pickled name
stay, as do the tables of torch that are keyed by functions.
"""

import warnings
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

from torch.compiler import is_dynamo_compiling

_VARARGS, _VARKEYWORDS = 0x04, 0x08


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


def swap(function: FunctionType, record: Callable[..., Any], original: FunctionType) -> CodeType:
    """Let `function` call `record` with its parameters, or `original` under dynamo; gives back the old code."""
    old = function.__code__
    function.__code__ = _trampoline(old, record, original)
    return old


def _trampoline(code: CodeType, record: Callable[..., Any], original: FunctionType) -> CodeType:
    """Code of the same parameters and free variables that passes everything on; all of it on the `def` line."""
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
    body = f"return ('original' if 'compiling'() else 'record')({', '.join(passed)})"
    free = ", ".join(code.co_freevars)
    closure = f"({free},) if False else None; " if free else ""
    source = f"def outer({free}):\n def {code.co_name}({', '.join(parameters)}): {closure}{body}\n"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # the strings that are called are replaced below
        module = compile(source, code.co_filename, "exec")
    outer = next(const for const in module.co_consts if isinstance(const, CodeType))
    inner = next(const for const in outer.co_consts if isinstance(const, CodeType))
    replaced = {"original": original, "record": record, "compiling": is_dynamo_compiling}
    return inner.replace(
        co_consts=tuple(replaced.get(const, const) if isinstance(const, str) else const for const in inner.co_consts),
        co_firstlineno=code.co_firstlineno,
        co_name=code.co_name,
        co_qualname=code.co_qualname,
    )
