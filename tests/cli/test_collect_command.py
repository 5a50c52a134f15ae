"""`traincheck collect`: whose options are whose, the script's own status, and what is never overwritten."""

import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.collect.running import COLLECT, environment

ARGUMENTS = "import sys; print(sys.argv[1:])\n"


def collect(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COLLECT, *arguments], capture_output=True, text=True, cwd=folder, env=environment(), timeout=120, check=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(ARGUMENTS)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "train.py").write_text(ARGUMENTS)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "received"),
    [
        (
            ["train.py", "-o", "x", "--every", "2", "--help", "--", "-m"],
            ["-o", "x", "--every", "2", "--help", "--", "-m"],
        ),
        (["--", "train.py", "--lr", "0.1"], ["--lr", "0.1"]),
        (["-m", "package.train", "-o", "x", "--help"], ["-o", "x", "--help"]),
        (["--every", "2", "-mpackage.train", "-h"], ["-h"]),
    ],
)
def test_options_behind_the_script_are_the_scripts(folder: Path, given: list[str], received: list[str]) -> None:
    done = collect(folder, "-o", "the trace", *given)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{received}\n"
    assert (folder / "the trace" / "manifest.json").is_file()
    assert not (folder / "x").exists()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("raise SystemExit(7)", 7),
        ("raise ValueError('mine')", 1),
        ("x = (", 1),
        ("import os; os.kill(os.getpid(), 9)", -9),
    ],
)
def test_the_status_is_the_scripts_own(folder: Path, body: str, status: int) -> None:
    (folder / "train.py").write_text(body + "\n")
    done = collect(folder, "train.py")
    assert (done.returncode, done.stdout) == (status, "")
    assert "traincheck" not in done.stderr


def test_names_with_odd_characters(folder: Path) -> None:
    script = "an 'odd' \"näme\"\nof a script.py"
    (folder / script).write_text(ARGUMENTS)
    done = collect(folder, "-o", "-tr ace\n'", "--", script, "a b", "")
    assert (done.returncode, done.stdout) == (0, "['a b', '']\n")
    assert (folder / "-tr ace\n'" / "manifest.json").is_file()


def test_what_is_not_a_trace_is_never_overwritten(shell: Shell, folder: Path) -> None:
    precious = folder / "results"
    precious.mkdir()
    (precious / "weights.pt").write_text("precious")
    script = folder / "train.py"
    assert "not empty and not a trace" in shell.refuses("collect", "-o", precious, script)
    assert "is a file, not a folder" in shell.refuses("collect", "-o", precious / "weights.pt", script)
    assert "cannot make this folder" in shell.refuses("collect", "-o", precious / "weights.pt" / "trace", script)
    assert (precious / "weights.pt").read_text() == "precious"


def test_an_older_trace_stays_when_there_is_nothing_to_run(shell: Shell, folder: Path) -> None:
    assert collect(folder, "-o", "trace", "train.py").returncode == 0
    (folder / "trace" / "mark").write_text("old")
    shell.refuses("collect", "-o", folder / "trace", folder / "missing.py")
    shell.refuses("collect", "-o", folder / "trace", "-i", folder / "missing.rules", folder / "train.py")
    assert (folder / "trace" / "mark").exists()
    assert collect(folder, "-o", "trace", "train.py").returncode == 0
    assert not (folder / "trace" / "mark").exists()


def test_there_must_be_a_script(shell: Shell, folder: Path) -> None:
    assert shell.refuses("collect").startswith("no script to run")
    assert "no such script" in shell.refuses("collect", folder / "missing.py")
    assert "no such script" in shell.refuses("collect", folder)


@pytest.mark.parametrize("arguments", [["--every", "0", "x"], ["--no-such", "x"], ["-m"], ["--warmup", "many", "x"]])
def test_usage_errors_are_2(shell: Shell, arguments: list[str]) -> None:
    status, out, err = shell("collect", *arguments)
    assert (status, out) == (2, "")
    assert "Error: " in err
