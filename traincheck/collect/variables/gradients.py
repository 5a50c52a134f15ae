"""When gradients are swept and how much of them is read: as little as what is asked of their changes takes."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from traincheck.collect.calls.calls import After, Before, Open, Thread, Values
from traincheck.collect.calls.sampling import Gate
from traincheck.collect.needs import Needs
from traincheck.collect.variables.changes import GLANCED, PASSED, READ, Changes

__all__ = ["BACKWARD", "CLIP", "UNSCALE", "ZERO_GRAD", "Gradients"]

BACKWARD = "backward"
CLIP = "clip"
UNSCALE = "unscale_"
ZERO_GRAD = "zero_grad"
"""Kinds of calls that change gradients; what changes them elsewhere is found by the next sweep."""

_APIS = {
    BACKWARD: ("torch.*.backward", "accelerate.accelerator.Accelerator.backward"),
    CLIP: ("torch.nn.utils.clip_grad*", "accelerate.accelerator.Accelerator.clip_grad*"),
    UNSCALE: ("torch.amp.*.unscale_", "accelerate.accelerator.Accelerator.clip_grad*"),
    ZERO_GRAD: ("torch.*.zero_grad",),
}
"""Under which names what they do may be asked for, as globs."""


class Gradients:
    """Sweeps over gradients, around the calls that change them.

    Everywhere and in full, unless changes are asked for only within some of these calls. Then it is no update what any
    other sweep finds; the others are not swept after, but what follows them is swept before; and where nothing but
    whether there are changes is asked of a backward, it is swept briefly, and in full before anything but a backward.
    """

    def __init__(self, changes: Changes, needs: Needs, gate: Gate) -> None:
        """While `gate` is closed nothing is swept around these calls."""
        self._changes = changes
        self._gate = gate
        asked = needs.gradients
        self._everywhere = not all(any(_is_of(api, kind) for kind in _APIS) for api in asked)
        self._asked = {kind: self._everywhere or any(_is_of(api, kind) for api in asked) for kind in _APIS}
        self._brief = not self._everywhere and not any(_is_of(api, BACKWARD) for api in needs.classes)
        self.sweep: Callable[..., None] = changes.grads if self._everywhere else partial(changes.grads, told=False)
        """Sweeps around anything else, as `Changes.grads` does."""
        self.sweep_both: Callable[..., None] = partial(changes.both, self._everywhere)
        """Sweeps values, too, as `Changes.both` does: around an optimizer's step."""

    def before(self, kind: str, first: Before | None = None) -> Before | None:
        """What is to be done when a call of some kind begins, `first` before all."""
        if self._everywhere or not self._asked[kind]:
            return first
        changes, gate, sweep = self._changes, self._gate, self.sweep
        enough = GLANCED if kind == BACKWARD else READ

        def entered(thread: Thread, opened: Open, receiver: Any, items: Values) -> None:
            if first is not None:
                first(thread, opened, receiver, items)
            if changes.seen > enough and gate.open:
                sweep(opened.parent)

        return entered

    def after(self, kind: str) -> After:
        """What is to be done when it has returned."""
        changes, gate = self._changes, self._gate
        asked, brief = self._asked[kind], self._brief and kind == BACKWARD

        def left(thread: Thread, opened: Open, receiver: Any, result: Any) -> None:
            if not asked:
                changes.seen = PASSED
            elif gate.open:
                changes.grads(opened.enter, True, brief)

        return left


def _is_of(api: str, kind: str) -> bool:
    return any(fnmatchcase(api, glob) for glob in _APIS[kind])
