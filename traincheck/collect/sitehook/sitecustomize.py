"""Python imports this at start-up in the processes of a collected run; it hands over to any other sitecustomize.

It must be cheap and silent: most processes that inherit the environment never import torch.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 -- pathlib costs milliseconds here


def _run_next() -> None:
    """Run the sitecustomize that this one hides, if there is one."""
    import importlib.machinery
    import importlib.util

    path = [entry for entry in sys.path if os.path.abspath(entry or ".") != _HERE]  # noqa: PTH100
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", path)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


def _start() -> None:
    try:
        from traincheck.collect.hook import watch_for_torch
    except ImportError:
        return  # another interpreter, without traincheck
    watch_for_torch()


sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != _HERE]  # noqa: PTH100
if os.environ.get("TRAINCHECK_TRACE"):
    _start()
_run_next()
