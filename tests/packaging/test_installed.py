"""A wheel and an editable install, each in a virtual environment of its own, find the rules and the grammar."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def library(rules: Path, grammar: Path) -> set[str]:
    """The names of all files in these two folders."""
    return {
        f"{name}/{path.relative_to(folder).as_posix()}"
        for name, folder in (("rules", rules), ("grammar", grammar))
        for path in folder.rglob("*.*")
    }


def run(*command: object, cwd: Path) -> str:
    """Standard output of a command that must succeed, run without what this checkout puts in the environment."""
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, cwd=cwd, env=kept, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources that no other test, build or checkout touches."""
    copied = tmp_path_factory.mktemp("sources") / "project"
    ignored = shutil.ignore_patterns(".*", "__pycache__")
    shutil.copytree(ROOT, copied, ignore=ignored)
    return copied


@pytest.fixture(scope="module")
def built(project: Path) -> Path:
    """A folder with the sdist, the wheel that is built from that sdist, and in `editable` the editable wheel."""
    out = project.parent / "dist"
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, project, cwd=project.parent)
    editable = out / "editable"
    editable.mkdir()
    hook = f"from hatchling.build import build_editable; build_editable({str(editable)!r})"  # as `pip install -e` does
    run(sys.executable, "-c", hook, cwd=project)
    return out


def install(wheel: Path, folder: Path) -> Path:
    """The bin folder of a fresh environment with this wheel; dependencies are those of the running Python."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    # the folder of the dependencies comes last, and .pth files inside it are not followed: no other traincheck is seen
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def try_out(binaries: Path, elsewhere: Path, project: Path) -> Path:
    """Use the installed commands from another folder; returns where the package is."""
    listed = run(binaries / "traincheck", "rules", "list", cwd=elsewhere)
    assert "precedes " in listed
    (elsewhere / "mine.rules").write_text('define slow(C) :- does(C, "backward").\n')
    checked = run(binaries / "traincheck", "rules", "check", "mine.rules", cwd=elsewhere)
    assert checked == "mine.rules: ok, 1 definition\n"
    for name in ("collect", "infer", "check"):
        assert "Usage: traincheck" in run(binaries / f"traincheck-{name}", "--help", cwd=elsewhere)
    where = "import traincheck.library as it; print(it.__file__, *map(it.library_folder, ('rules', 'grammar')))"
    module, rules, grammar = map(Path, run(binaries / "python", "-c", where, cwd=elsewhere).split())
    assert library(rules, grammar) == library(project / "rules", project / "grammar")
    return module


def test_a_wheel_install_finds_its_library(built: Path, project: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    module = try_out(install(wheel, tmp_path / "environment"), tmp_path, project)
    assert module.is_relative_to(tmp_path / "environment")


def test_an_editable_install_finds_its_library(built: Path, project: Path, tmp_path: Path) -> None:
    (wheel,) = (built / "editable").glob("*.whl")
    module = try_out(install(wheel, tmp_path / "environment"), tmp_path, project)
    assert module.is_relative_to(project)


def test_the_wheel_holds_the_package_and_nothing_beside(built: Path, project: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"traincheck/_library/{name}" for name in library(project / "rules", project / "grammar")} <= set(names)
    assert "traincheck/py.typed" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"traincheck"}


def test_the_sdist_can_be_worked_on(built: Path, project: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert library(project / "rules", project / "grammar") <= names
    expected = ("README.md", "LICENSE", "pyproject.toml", "traincheck/library.py", "tests/packaging/test_installed.py")
    assert set(expected) <= names
    assert not any(part.startswith((".venv", ".demo")) for name in names for part in name.split("/"))
