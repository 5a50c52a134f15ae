"""`check --follow` and `run`: what is told while training runs, and how they end."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import Shell, Tiny
from tests.collect.running import COLLECT, environment

TRAINCHECK = [sys.executable, "-c", "from traincheck.cli import main; main()"]

SCRIPT = """
import sys, time
import torch

torch.set_num_threads(1)
model = torch.nn.Linear(3, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
faulty, steps, pause = (float(word) for word in sys.argv[1:4])
for step in range(int(steps)):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(torch.randn(8, 3)), torch.randint(0, 2, (8,)))
    if step == faulty:
        loss = loss.detach().requires_grad_()
    loss.backward()
    optimizer.step()
    print("did", step, flush=True)
    time.sleep(pause)
sys.exit(int(sys.argv[4]) if len(sys.argv) > 4 else 0)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return path


@contextmanager
def started(*command: object) -> Iterator[subprocess.Popen[str]]:
    words = [str(word) for word in command]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [*TRAINCHECK, "run", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=120, check=False)


def test_following_an_ended_run_says_what_check_says(shell: Shell, tiny: Tiny) -> None:
    asked = ("-i", tiny.invariants, "--rules", "torch")
    status, report, _ = shell("check", tiny.no_step, *asked)
    followed, live, told = shell("check", tiny.no_step, "--follow", *asked)
    assert (followed, live.splitlines()[:-1]) == (status, report.splitlines()[:-1])
    headlines = [
        line for line in told.splitlines() if line.startswith(("traincheck: error: ", "traincheck: warning: "))
    ]
    assert len(headlines) == len(set(headlines)) > 0


def test_only_one_trace_can_be_followed(shell: Shell, tiny: Tiny) -> None:
    assert "one trace" in shell.refuses("check", tiny.clean, tiny.other, "--follow", "-i", tiny.invariants)


def test_a_follower_may_come_first_and_ends_when_the_run_is_killed(script: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with started(*TRAINCHECK, "check", trace, "--follow", "--rules", "torch") as follower:
        with started(*COLLECT, "-o", trace, script, 3, 1000, 0.05) as training:
            assert follower.stderr is not None
            first = follower.stderr.readline()
            assert "step 3, " in first, first
            (process,) = trace.glob("process-*")
            os.kill(int(process.name.rpartition("-")[2]), signal.SIGKILL)
            training.wait(20)
        out, err = follower.communicate(timeout=120)
    assert follower.returncode == 1, err
    assert "a backward made no gradient" in out
    assert "did not end normally" in err


def test_a_follower_ends_when_the_run_ended_before_it_trained(tmp_path: Path) -> None:
    trace, script = tmp_path / "trace", tmp_path / "idle.py"
    script.write_text("print('nothing to do')\n")
    subprocess.run([*COLLECT, "-o", trace, script], check=True, capture_output=True, env=environment())
    with started(*TRAINCHECK, "check", trace, "--follow", "--rules", "torch") as follower:
        out, err = follower.communicate(timeout=60)
    assert follower.returncode == 3, err
    assert "0 violated" in out


def test_an_interrupt_ends_following_with_a_report(script: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with started(*COLLECT, "-o", trace, script, 2, 1000, 0.05):
        with started(*TRAINCHECK, "check", trace, "--follow", "--rules", "torch") as follower:
            assert follower.stderr is not None
            follower.stderr.readline()
            follower.send_signal(signal.SIGINT)
            out, err = follower.communicate(timeout=120)
        assert follower.returncode == 1, err
        assert "a backward made no gradient" in out
        (process,) = trace.glob("process-*")
        os.kill(int(process.name.rpartition("-")[2]), signal.SIGKILL)


def test_run_tells_at_once_and_reports_at_the_end(script: Path, tmp_path: Path) -> None:
    done = run("--rules", "torch", "-o", tmp_path / "trace", script, 2, 6, 0.0)
    assert done.returncode == 1, done.stderr
    assert done.stdout.index("did 5") < done.stdout.index("error: a backward made no gradient")
    assert done.stderr.count("a backward made no gradient") == 1


def test_run_passes_on_the_status_of_a_script_that_fails(script: Path, tmp_path: Path) -> None:
    done = run("--rules", "torch", "-o", tmp_path / "trace", script, -1, 4, 0.0, 7)
    assert done.returncode == 7, done.stderr
    assert "0 violated" in done.stdout


def test_run_stops_training_within_two_steps(script: Path, tmp_path: Path) -> None:
    done = run("--rules", "torch", "--on-violation", "stop", "-o", tmp_path / "trace", script, 5, 40, 0.0)
    assert done.returncode == 1, done.stderr
    assert "did 5\n" in done.stdout
    assert "did 7\n" not in done.stdout
    assert "never stepped" not in done.stdout, "what a stopped run did not come to is no violation"


def test_training_goes_on_when_its_checker_is_killed(script: Path, tmp_path: Path) -> None:
    words = ["--rules", "torch", "--on-violation", "stop", "-o", tmp_path / "trace", script, -1, 30, 0.02]
    with started(*TRAINCHECK, "run", *words) as checker:
        assert checker.stdout is not None
        while checker.stdout.readline() != "did 3\n":
            assert checker.poll() is None
        checker.kill()
        deadline = time.monotonic() + 120
        while (line := checker.stdout.readline()) != "did 29\n":
            assert line and time.monotonic() < deadline
