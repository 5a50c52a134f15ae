"""What is not a trace, or no longer a whole one: one clear line, or a warning and the part that can be read."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Shell, Tiny
from traincheck.trace.layout import FAMILIES

Copy = Callable[[Path], Path]


def _empty(trace: Path) -> None:
    trace.mkdir()


def _missing(trace: Path) -> None:
    pass


def _file(trace: Path) -> None:
    trace.write_bytes(b"\x80\x04\x95 no folder")


def _other_folder(trace: Path) -> None:
    trace.mkdir()
    (trace / "notes.txt").write_text("mine\n")


def _manifest(content: bytes) -> Callable[[Path], None]:
    def make(trace: Path) -> None:
        trace.mkdir()
        (trace / "manifest.json").write_bytes(content)

    return make


def _without_events(trace: Path) -> None:
    _manifest(b'{"format": "traincheck-trace", "format_version": "1.0"}')(trace)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_empty, "the folder is empty, not a trace (next: traincheck collect"),
        (_missing, "no such trace (next: traincheck collect"),
        (_file, "not a trace but a file"),
        (_other_folder, "not a trace: it has no manifest"),
        (_manifest(b'{"format": '), "the manifest cannot be read"),
        (_manifest(b"\x80\x81\x82"), "the manifest cannot be read"),
        (_manifest(b"[]"), "it has no manifest"),
        (_manifest(b'{"format": "traincheck-trace", "format_version": "9.0"}'), "trace format 9.0 is not one"),
        (_without_events, "the trace holds no events"),
    ],
    ids=["empty", "missing", "file", "other folder", "torn", "binary", "list", "newer", "no events"],
)
def test_what_is_not_a_trace_is_refused_in_one_line(
    shell: Shell, tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    trace = tmp_path / "some trace"
    make(trace)
    said = shell.refuses("check", trace, "--rules", "torch/loop")
    assert said.startswith(f"{trace}: ")
    assert message in said


@pytest.mark.parametrize("make", [_empty, _missing])
def test_infer_and_query_refuse_them_too(shell: Shell, tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "trace")
    assert "trace (next: traincheck collect" in shell.refuses("query", tmp_path / "trace", "call(C)")
    output = tmp_path / "out.rules"
    output.write_text("# kept\n")
    assert "trace (next: traincheck collect" in shell.refuses("infer", tmp_path / "trace", "-o", output)
    assert output.read_text() == "# kept\n"


def test_a_manifest_of_a_newer_minor_version_is_read(shell: Shell, tiny: Tiny, copy: Copy) -> None:
    trace = copy(tiny.clean)
    manifest = trace / "manifest.json"
    document = json.loads(manifest.read_text())
    document |= {"format_version": "1.99", "of_tomorrow": [1, 2]}
    manifest.write_text(json.dumps(document))
    assert shell("query", trace, "call(_)")[0] == 0


def test_one_bad_trace_among_good_ones_is_named(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    said = shell.refuses("check", tiny.clean, tmp_path / "gone", "-i", tiny.invariants)
    assert said.startswith(f"{tmp_path}/gone: no such trace")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cut_stream_is_read_up_to_its_last_whole_batch(shell: Shell, tiny: Tiny, copy: Copy, family: str) -> None:
    trace = copy(tiny.clean)
    for stream in trace.rglob(f"{family}.arrow"):
        content = stream.read_bytes()
        stream.write_bytes(content[: len(content) // 2])
    status, out, err = shell("query", trace, "call(C, api: A, step: S), update(_, call: C)", "--format", "json")
    assert status == 0, err
    assert isinstance(json.loads(out), list)
    if list(trace.rglob(f"{family}.arrow")):
        assert "warning: " in err
        assert ("lost the end of its stream" if family == "names" else "read up to its last whole batch") in err


def test_a_cut_trace_is_checked_and_learned_from(shell: Shell, tiny: Tiny, copy: Copy, tmp_path: Path) -> None:
    trace = copy(tiny.clean)
    (calls,) = trace.rglob("calls.arrow")
    calls.write_bytes(calls.read_bytes()[:-200])
    status, out, err = shell("check", trace, "-i", tiny.invariants, "--format", "json")
    assert status in (0, 1, 3)
    assert err.count("\n") == 1
    assert json.loads(out)["summary"]["facts"] > 0
    status, _, err = shell("infer", trace, tiny.other, "-o", tmp_path / "out.rules")
    assert status == 0, err
    assert "read up to its last whole batch" in err
