"""The command line as one among other programs: pipes that close, disks that are full, terminals that are not UTF-8."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.collect.running import environment
from traincheck.files import write_whole

TRAINCHECK = [sys.executable, "-m", "traincheck"]


def test_a_reader_that_goes_away_is_no_violation() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(
            [*TRAINCHECK, "rules", "list"], stdout=gone, stderr=subprocess.PIPE, env=environment(), check=False
        )
    assert (done.returncode, done.stderr) == (141, b"")  # as of a program that SIGPIPE ended


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*TRAINCHECK, "rules", "list"], stdout=full, stderr=subprocess.PIPE, env=environment(), check=False
        )
    assert (done.returncode, done.stderr) == (2, b"traincheck: No space left on device\n")


def test_names_that_the_terminal_cannot_show() -> None:
    done = subprocess.run(
        [*TRAINCHECK, "query", b"tr\xffa\xc3\xa4\nce\x1b[2J", "call(C)"],
        capture_output=True, env=environment() | {"PYTHONIOENCODING": "ascii"}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(rb"traincheck: tr\udcffa")
    assert rb"\nce\x1b[2J: no such trace" in done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("arguments", [[], ["chekc"], ["--nope"], ["rules", "nope"]])
def test_usage_errors_are_2(shell: Shell, arguments: list[str]) -> None:
    status, out, err = shell(*arguments)
    assert (status, out) == (2, "")
    assert "Usage: traincheck" in err


def test_help_and_version_are_0(shell: Shell) -> None:
    for arguments in (["--help"], ["-h"], ["--version"], ["check", "-h"], ["query", "--help"]):
        status, out, err = shell(*arguments)
        assert (status, err) == (0, "")
        assert "traincheck" in out


def test_writing_leaves_nothing_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    write_whole(path, "old\n")
    write_whole(path, "new \udcff\n")
    assert path.read_text() == "new \\udcff\n"
    assert [item.name for item in tmp_path.iterdir()] == ["report.txt"]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(path, "through\n")
        assert os.read(reading, 100) == b"through\n"
    finally:
        os.close(reading)
    assert path.is_fifo()
