"""Finding and loading rule files: the shipped library, and what the user names."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from traincheck.dsl.checker import Checked, check
from traincheck.dsl.declare import did_you_mean
from traincheck.dsl.parse import parse_file
from traincheck.dsl.report import raise_all
from traincheck.dsl.syntax import RuleFile, Template
from traincheck.errors import RuleError, UsageError
from traincheck.library import library_folder

SUFFIX = ".rules"


def load_rules(paths: Sequence[str | Path], with_standard: bool = True) -> Checked:
    """The rules in `paths` (files, folders, or names of shipped packs), checked together.

    `with_standard` adds the whole shipped library. A file named twice is loaded once. UsageError for a path that is
    not there, RuleError for what is wrong inside.
    """
    files = dict.fromkeys(standard_files()) if with_standard else {}
    for path in paths:
        files |= dict.fromkeys(file.resolve() for file in rule_files(path))
    parsed, errors = parse_files(list(files))
    raise_all(errors)
    return check(parsed)


def parse_files(files: Sequence[Path]) -> tuple[list[RuleFile], list[RuleError]]:
    """Every file that parses, named as people would write its path, and the errors of the others."""
    parsed: list[RuleFile] = []
    errors: list[RuleError] = []
    for file in files:
        try:
            parsed.append(parse_file(_shown(file)))
        except RuleError as error:
            errors.append(error)
    return parsed, errors


def standard_files() -> list[Path]:
    """Every file of the shipped library, sorted."""
    return sorted(file.resolve() for file in library_folder("rules").rglob(f"*{SUFFIX}"))


def is_translation(template: Template) -> bool:
    """Whether a shipped template only says what another tool's invariants mean: it is mined when it is named."""
    folder = library_folder("rules").resolve() / "orderlab"
    return folder in Path(template.position.file).resolve().parents


def rule_files(path: str | Path) -> list[Path]:
    """The files that `path` stands for: itself, the *.rules files below a folder, or those of a shipped pack."""
    given = Path(path)
    if given.is_file():
        return [given]
    if given.is_dir():
        found = sorted(given.rglob(f"*{SUFFIX}"))
        if not found:
            raise UsageError(f"no {SUFFIX} files in this folder", where=str(path))
        return found
    return list(_pack(str(path)))


def _pack(name: str) -> Iterator[Path]:
    folder = library_folder("rules").resolve()
    packs = {file.relative_to(folder).with_suffix("").as_posix(): file for file in standard_files()}
    for pack, file in packs.items():
        if pack == name or pack.startswith(f"{name}/"):
            yield file
    known = sorted({*packs, *(pack.rpartition("/")[0] for pack in packs if "/" in pack)})
    if name not in known:
        packs_named = ", ".join(pack for pack in known if "/" not in pack)
        advice = did_you_mean(name, known) or f"name a file, a folder, or a shipped pack: {packs_named}"
        raise UsageError("no such rule file, folder or shipped pack", where=name, next_step=advice)


def _shown(file: Path) -> Path:
    """The path as people would write it: relative to the working directory when it is below."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file
