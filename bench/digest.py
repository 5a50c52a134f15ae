"""Runs a training script as it is and tells, at its end, how long its loop took and what its weights became.

    python bench/digest.py RESULT SCRIPT [ARGS]...

RESULT gets a JSON object: seconds and processor seconds from the end of the first optimizer step to the end of
the last one, the number of steps, and a digest of all parameters, buffers and the random state. It holds on to the
optimizers and their parameters, and does nothing else within the loop.
"""

import atexit
import hashlib
import json
import runpy
import sys
import time
from pathlib import Path

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

_seen: dict[int, torch.optim.Optimizer] = {}
_times: list[tuple[float, float]] = []


def _stepped(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
    _times.append((time.perf_counter(), time.process_time()))
    _seen[id(optimizer)] = optimizer


def _tell(result: Path) -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    digest = hashlib.sha256(bytes(torch.get_rng_state()))
    for optimizer in _seen.values():
        for group in optimizer.param_groups:
            for param in group["params"]:
                digest.update(param.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    (wall, cpu), (first_wall, first_cpu) = _times[-1], _times[0]
    document = {
        "seconds": wall - first_wall,
        "processor": cpu - first_cpu,
        "steps": len(_times) - 1,
        "weights": digest.hexdigest(),
    }
    result.write_text(json.dumps(document))


if __name__ == "__main__":
    register_optimizer_step_post_hook(_stepped)
    atexit.register(_tell, Path(sys.argv[1]))
    sys.argv = sys.argv[2:]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
