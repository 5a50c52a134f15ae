"""Functions have code of ours while it has something to do, and their own otherwise."""

from collections.abc import Callable
from pathlib import Path

from tests.collect.running import run
from traincheck.collect.calls.sampling import ALL, COUNTING, NOTHING, STEPS
from traincheck.collect.instrument.swaps import Swaps

LEVELS = COUNTING, STEPS, ALL


def named(name: int) -> Callable[[], str]:
    def function() -> str:
        return str(name)

    return function


def test_each_function_has_our_code_from_its_level_on() -> None:
    functions = [named(level) for level in LEVELS]
    swaps = Swaps()
    for level, function in zip(LEVELS, functions, strict=True):
        swaps.add(function, lambda original: lambda: f"recorded {original()}", level)  # type: ignore[arg-type]
    for watched in (ALL, COUNTING, STEPS, NOTHING, ALL):
        swaps.watch(watched)
        expected = [f"recorded {level}" if level <= watched else str(level) for level in LEVELS]
        assert [function() for function in functions] == expected
    swaps.give_back(functions[1])  # type: ignore[arg-type]
    swaps.watch(NOTHING)
    swaps.watch(ALL)
    assert [function().split()[0] for function in functions] == ["recorded", str(STEPS), "recorded"]
    swaps.remove()
    assert [function() for function in functions] == [str(level) for level in LEVELS]


WHOSE = """
def whose(function):
    return "torch's" if isinstance(function.__code__.co_consts[0], str) else "ours"  # which has no docstring

model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for index in range(32):
    optimizer.zero_grad()
    loss_of(model).backward()
    optimizer.step()
    print(index, whose(F.cross_entropy), whose(torch.Tensor.backward), whose(torch.autograd.backward))
"""


def test_steps_that_are_left_out_run_torchs_own_code(tmp_path: Path) -> None:
    lines = run(tmp_path, WHOSE, options=["--every", "30"]).stdout.splitlines()
    assert lines[0] == "0 ours ours ours"
    assert lines[2] == "2 torch's ours ours"  # while it is learned how steps begin
    assert lines[20] == "20 torch's torch's ours"  # whether a backward is under way has to be known
    assert lines[30] == "30 ours ours ours"
