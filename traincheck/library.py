"""Where the rule library and the grammar are: inside a wheel, or beside the package in an editable install."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def library_folder(name: str) -> Path:
    """The shipped folder `name` ("rules" or "grammar"); FileNotFoundError when the installation lacks it."""
    for candidate in (_PACKAGE / "_library" / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"this installation of traincheck lacks its '{name}' folder")
