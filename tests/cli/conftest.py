"""`traincheck ...` as a user types it, and traces of a tiny training script, made once for all workers."""

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.collect.running import COLLECT, environment
from traincheck.cli import main

TINY = Path(__file__).parents[1] / "scripts" / "tiny.py"


class Shell:
    """Runs `traincheck ...` and keeps what it printed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["traincheck", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        printed = self._capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, printed.out, printed.err

    def refuses(self, *arguments: object) -> str:
        """The one line on standard error of a command that must end with 2 and print nothing else."""
        status, out, err = self(*arguments)
        assert (status, out) == (2, ""), err
        assert "Traceback" not in err
        first, *rest = err.splitlines()
        assert first.startswith("traincheck: ")
        assert all(line.startswith("    ") for line in rest), err  # the line of a rule file above its caret
        return err.removeprefix("traincheck: ").rstrip("\n")


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


@dataclass(frozen=True)
class Tiny:
    """Traces of tests/scripts/tiny.py, two clean and one without `optimizer.step`, and what the clean ones teach."""

    folder: Path

    @property
    def clean(self) -> Path:
        return self.folder / "clean"

    @property
    def other(self) -> Path:
        return self.folder / "other"

    @property
    def no_step(self) -> Path:
        return self.folder / "no_step"

    @property
    def invariants(self) -> Path:
        return self.folder / "tiny.rules"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Tiny:
    """Only to be read; `copy` makes one to break."""
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent  # xdist's workers share what lies above their own
    found = Tiny(base / "tiny")
    with (base / "tiny.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.folder.exists():
            making = Tiny(base / "making-tiny")
            shutil.rmtree(making.folder, ignore_errors=True)
            making.folder.mkdir()
            _make(making)
            making.folder.rename(found.folder)
    return found


def _make(tiny: Tiny) -> None:
    for trace, options in [
        (tiny.clean, ["--seed", "0"]),
        (tiny.other, ["--seed", "1"]),
        (tiny.no_step, ["--fault", "no_step"]),
    ]:
        _run([*COLLECT, "-o", str(trace), str(TINY), *options])
    infer = [sys.executable, "-c", "from traincheck.cli import infer_main; infer_main()"]
    _run([*infer, str(tiny.clean), str(tiny.other), "-o", str(tiny.invariants)])


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(), cwd=TINY.parent, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Path], Path]:
    """A copy of a trace, to be broken by a test."""
    return lambda trace: Path(shutil.copytree(trace, tmp_path / "copied"))
