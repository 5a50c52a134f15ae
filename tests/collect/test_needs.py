"""What a selective collection asks for: of each call only what some law says about it."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from traincheck.cli.collect import needs_for
from traincheck.collect.instrument.untraced import something_compiled
from traincheck.collect.needs import Needs
from traincheck.collect.select import needs_of
from traincheck.dsl.load import load_rules

_FORWARD = "train.Net.forward"
_LINEAR = "torch.nn.functional.linear"


def _needs(folder: Path, *invariants: str) -> Needs:
    file = folder / "some.rules"
    file.write_text(
        "".join(
            f'invariant {each}\n  "a law"\n  evidence runs 2, examples 9, confidence 0.9, false_alarms 0.1\n'
            for each in invariants
        )
    )
    return needs_of(load_rules((str(file),)))


def test_arguments_and_results_are_asked_for_only_where_a_law_reads_them(tmp_path: Path) -> None:
    needs = _needs(
        tmp_path,
        f'contains_call(Outer: "{_FORWARD}", Inner: "{_LINEAR}")',
        f'result_dtype(Api: "{_LINEAR}", Dtype: "float32")',
        'argument_is(Api: "torch.nn.functional.dropout", Argument: "training", Setting: "true")',
    )
    assert set(needs.apis) == {_FORWARD, _LINEAR, "torch.nn.functional.dropout"}
    assert needs.args == ("torch.nn.functional.dropout:training",)
    assert needs.results == (_LINEAR,)
    assert needs.tensors == needs.fingerprints == ()


def test_sizes_are_read_from_arguments_and_results(tmp_path: Path) -> None:
    needs = _needs(tmp_path, f'as_many_as(Api: "{_FORWARD}", Argument: "x")')
    assert needs.args == (f"{_FORWARD}:x",)
    assert needs.results == (_FORWARD,)


def test_a_concept_that_limits_a_call_through_its_api_limits_what_is_recorded(tmp_path: Path) -> None:
    needs = _needs(tmp_path, 'passes_end(Begins: "data_pass", Fetches: "data_batch")')
    assert "*" not in needs.apis


def test_the_shipped_rules_of_torch_do_not_ask_for_everything() -> None:
    needs = needs_for(["torch"])
    assert not {"*"} & {*needs.apis, *needs.args, *needs.results, *needs.tensors, *needs.fingerprints}


def test_a_half_imported_dynamo_has_compiled_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch._dynamo.utils", ModuleType("torch._dynamo.utils"))
    assert not something_compiled()


def test_it_is_said_within_which_calls_changes_of_gradients_are_asked_for(tmp_path: Path) -> None:
    backward = 'updates_each(Doer: "backward", Kind: "parameter", Attr: "grad")'
    values = 'updates_each(Doer: "optimizer_step", Kind: "parameter", Attr: "data")'
    cleared = 'updates_some(Doer: "zero_grad", Kind: "parameter", Attr: "grad", Before: "nonzero", After: "none")'
    needs = _needs(tmp_path, backward, values, cleared)
    assert {api.rpartition(".")[2] for api in needs.gradients} == {"backward", "zero_grad"}
    assert {api.rpartition(".")[2] for api in needs.classes} == {"zero_grad"}
    anywhere = 'changes_only_in(Kind: "parameter", Attr: "grad", Doer: "backward")'
    assert _needs(tmp_path, backward, anywhere).gradients == ("*",)
    assert Needs().gradients == Needs().classes == ("*",)


@pytest.mark.parametrize(
    ("formulas", "within"),
    [
        ('does(C, "backward"), contains(C, U), update(U, V, attr: "grad")', "backward"),
        ('does(C, "backward") expect contains(C, U), update(U, V, attr: "grad")', "backward"),
        ('update(U, V, attr: "grad", step: S) expect contains(C, U), does(C, "backward")', "*"),
        ('update(U, V, attr: "grad"), contains(C, U), not does(C, "backward")', "*"),
        ('update(U, V, attr: "grad"), does(C, "backward"), not contains(C, U)', "*"),
        ('does(C, "clip"), count { U : contains(C, U), update(U, attr: "grad") } > 3', "clip_grad_norm_"),
        ('does(C, "backward"), contains(C, U), update(U, V, attr: "data")', ""),
        ('touches(C), not does(C, "backward")', "*"),
    ],
)
def test_only_what_must_be_within_a_call_is_asked_for_within_it(formulas: str, within: str, tmp_path: Path) -> None:
    file = tmp_path / "some.rules"
    never, _, expect = formulas.partition(" expect ")
    within_what = "step S" if "step: S" in never else "C"
    body = f"when {never}\n  expect {expect}\n  within {within_what}" if expect else f"never {never}"
    define = 'define touches(C) :- contains(C, U), update(U, attr: "grad").' if "touches" in never else ""
    file.write_text(f'{define}\nrule some\n  "a law"\n  {body}\n')
    apis = needs_for([str(file)]).gradients
    assert within in {api.rpartition(".")[2] for api in apis} if within else apis == ()
