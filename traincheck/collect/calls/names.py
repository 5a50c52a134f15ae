"""Names of modules as users know them: that of a script is its file's, however it was started."""

import sys
from pathlib import Path

_MAINS = ("__main__", "__mp_main__")


def module_name(module: str) -> str:
    """`module`, or for the program's own module the name of its file or of what `-m` was given.

    A script has the same name whether it was run, spawned by multiprocessing or imported.
    """
    if module not in _MAINS:
        return module
    main = sys.modules.get(module) or sys.modules.get(_MAINS[0])
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name not in _MAINS:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else _MAINS[0]
