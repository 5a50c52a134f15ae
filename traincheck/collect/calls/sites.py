"""Call sites: the file and line of the innermost frame of the user's own code."""

import os
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

import torch

import traincheck

_NOT_YET: dict[int, int] = {}
FOREIGN: dict[int, int] = {}
OURS: dict[int, int] = {}
_USER = -1
"""No instruction has this index: it makes a user's table of sites true from the start."""


def _foreign_folders() -> tuple[str, ...]:
    folders = [sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [str(Path(module.__file__).parent) for module in (torch, traincheck) if module.__file__]
    return tuple({os.path.realpath(folder) + os.sep for folder in folders})


class Sites:
    """Finds the user's frame above a call and interns it; what is known of a code object is decided once."""

    def __init__(self, intern: Callable[[str], int], cwd: str) -> None:
        self._intern = intern
        self._cwd = os.path.realpath(cwd) + os.sep
        self._foreign = _foreign_folders()
        # id(code) -> the sites by instruction, none for code that is not the user's; `_kept` keeps ids unique
        self.codes: dict[int, dict[int, int]] = {}
        self._kept: list[CodeType] = []

    def ours(self, code: CodeType) -> None:
        """Note that frames of `code` surround recorded calls, whose sites are known."""
        self._kept.append(code)
        self.codes[id(code)] = OURS

    def find(self, frame: FrameType | None, inherited: int | None, outer_is_users: bool) -> int:
        """The site id of `frame` or of the nearest user frame above it; -1 when there is none.

        `inherited` is the site of the innermost open call, and the answer from the frame of its recorder on;
        `outer_is_users` says whether that call runs the user's code.
        """
        codes = self.codes
        if frame is not None and not outer_is_users and inherited is not None:
            # torch called this from within torch: no user's frame lies between, unless this very one is
            sites = codes.get(id(frame.f_code), _NOT_YET)
            if sites is FOREIGN:
                return inherited
        while frame is not None:
            code = frame.f_code
            sites = codes.get(id(code), _NOT_YET)
            if sites is _NOT_YET:
                sites = self._classify(code)
            elif sites is OURS and inherited is not None:
                return inherited
            if sites:
                site = sites.get(frame.f_lasti)
                return self._intern_site(frame, sites) if site is None else site
            frame = frame.f_back
        return -1

    def is_user_file(self, filename: str) -> bool:
        """Whether `filename` is the user's code rather than Python's, torch's, ours or an installed package's."""
        if filename.startswith("<") and not filename.startswith(("<ipython", "<stdin>", "<string>")):
            return False
        return not os.path.realpath(filename).startswith(self._foreign)

    def _intern_site(self, frame: FrameType, sites: dict[int, int]) -> int:
        site = sites[frame.f_lasti] = self._intern(f"{self._shown(frame.f_code.co_filename)}:{frame.f_lineno}")
        return site

    def _classify(self, code: CodeType) -> dict[int, int]:
        self._kept.append(code)
        sites = {_USER: -1} if self.is_user_file(code.co_filename) else FOREIGN
        self.codes[id(code)] = sites
        return sites

    def _shown(self, filename: str) -> str:
        path = os.path.realpath(filename)
        if path.startswith(self._cwd):
            return path[len(self._cwd) :]
        main = getattr(sys.modules.get("__main__"), "__file__", None)
        if main and os.path.realpath(main) == path:
            return Path(path).name
        return path


def frame_above(depth: int) -> FrameType | None:
    """The frame so many calls above the caller; None when there is none, as in what Python itself calls at its end."""
    try:
        return sys._getframe(depth + 1)
    except ValueError:
        return None
