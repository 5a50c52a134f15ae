"""Functions whose code was swapped look, take arguments and travel as before."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from traincheck.collect.calls.calls import Watch
from traincheck.collect.compiled import NATIVE
from traincheck.collect.instrument.recorder import Recorders
from traincheck.collect.instrument.trampoline import clone, trampoline
from traincheck.collect.monitor import Monitor
from traincheck.collect.settings import Settings


def made(unit: int) -> Any:
    def power(base: int, /, exponent: int = 2, *more: int, scale: int = 1, **named: int) -> tuple[Any, ...]:
        """A docstring."""
        return base**exponent * scale * unit, more, named

    return power


@pytest.mark.parametrize("compiling", [False, True])
def test_a_function_of_every_kind_of_parameter(compiling: bool) -> None:
    function = made(10)
    calls = []

    def record(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return original(*args, **kwargs)

    plain, original = made(10), clone(function)
    old = function.__code__
    function.__code__ = trampoline(function, old, record, original, compiling)
    for args, kwargs in [((3,), {}), ((3, 1, 7, 8), {"scale": 2, "other": 5}), ((2,), {"exponent": 5})]:
        assert function(*args, **kwargs) == plain(*args, **kwargs)
    assert calls[0] == ((3, 2), {"scale": 1})
    assert inspect.signature(function) == inspect.signature(plain)
    assert inspect.getsource(function) == inspect.getsource(plain)
    assert (function.__name__, function.__qualname__) == (plain.__name__, plain.__qualname__)
    function.__code__ = old
    assert function(3) == plain(3)
    assert len(calls) == 3


@pytest.mark.parametrize("compiling", [False, True])
def test_code_that_is_pickled_by_value_leaves_the_recorder_behind(compiling: bool) -> None:
    function = made(1)

    def record(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("there is nothing to record elsewhere")

    function.__code__ = trampoline(function, function.__code__, record, clone(function), compiling)
    (sent,) = [const for const in function.__code__.co_consts if callable(const)]
    call, arguments = sent.__reduce_ex__(4)
    assert call(*arguments)(3) == (9, (), {})


@pytest.mark.skipif(NATIVE is None, reason="the compiled part was not built, or is switched off")
def test_a_compiled_recorder_is_left_behind_too(tmp_path: Path) -> None:
    monitor, original = Monitor(Settings(trace=tmp_path, cwd="/")), made(1)
    call, arguments = Recorders(monitor).swapped(original, Watch()).__reduce_ex__(4)
    assert call(*arguments)(3) == (9, (), {})
