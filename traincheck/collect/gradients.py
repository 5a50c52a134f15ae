"""When gradients are swept and how much of them is read: as little as what is asked of their changes takes."""

from fnmatch import fnmatchcase

from traincheck.collect.changes import Changes
from traincheck.collect.needs import Needs

__all__ = ["BACKWARD", "CLIP", "UNSCALE", "ZERO_GRAD", "Gradients"]

BACKWARD = "backward"
CLIP = "clip"
UNSCALE = "unscale_"
ZERO_GRAD = "zero_grad"
"""What changes gradients and is followed: other changes of them are between two of these."""

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

    def __init__(self, changes: Changes, needs: Needs) -> None:
        self._changes = changes
        self._everywhere = not all(any(_is_of(api, kind) for kind in _APIS) for api in needs.gradients)
        self._asked = {kind: self._everywhere or any(_is_of(api, kind) for api in needs.gradients) for kind in _APIS}
        self._brief = not self._everywhere and not any(_is_of(api, BACKWARD) for api in needs.classes)
        self._passed = False  # whether something that is not asked for may have changed some since the last sweep
        self._glanced = False  # whether that one was brief

    def sweep(self, call: int, counted: bool = False) -> None:
        """Sweep around anything else, such as an optimizer's step; `counted` as of `Changes.grads`."""
        self._changes.grads(call, told=self._everywhere, counted=counted)
        self._passed = self._glanced = False

    def before(self, kind: str, parent: int) -> None:
        """A call of some kind begins within `parent`."""
        if self._asked[kind] and (self._passed or (self._glanced and kind != BACKWARD)):
            self.sweep(parent)

    def after(self, kind: str, call: int) -> None:
        """It ends."""
        if not self._asked[kind]:
            self._passed = True
            return
        self._glanced = not self._changes.grads(call, brief=self._brief and kind == BACKWARD)
        self._passed = False


def _is_of(api: str, kind: str) -> bool:
    return any(fnmatchcase(api, glob) for glob in _APIS[kind])
