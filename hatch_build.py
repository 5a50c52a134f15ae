"""Compiles the part of the collector that is written in C, where there is a compiler; all works without it."""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_SOURCES = "traincheck/collect/csrc"
_NAME = "traincheck/collect/_native"
_UNBUILT = "TRAINCHECK_PURE"
"""Set to leave the compiled part out."""


class NativeBuildHook(BuildHookInterface[Any]):
    """Builds `_native` beside its sources' package, and makes the wheel one for this Python and platform."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; without success say so and go on."""
        root = Path(self.root)
        target = root / (_NAME + str(sysconfig.get_config_var("EXT_SUFFIX")))
        target.unlink(missing_ok=True)
        if os.environ.get(_UNBUILT) or sysconfig.get_config_var("Py_GIL_DISABLED") or not self._compile(root, target):
            return
        build_data["artifacts"].append(str(target.relative_to(root)))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def _compile(self, root: Path, target: Path) -> bool:
        compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
        include = sysconfig.get_path("include")
        sources = sorted(map(str, (root / _SOURCES).glob("*.c")))
        shared = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
        flags = ["-O3", "-fPIC", "-fvisibility=hidden", f"-I{include}"]
        command = [*compiler, *flags, *shared, *sources, "-o", str(target)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[:1]
            self.app.display_warning(f"The compiled part was not built, Python will do its work: {''.join(reason)}")
            return False
        return True
