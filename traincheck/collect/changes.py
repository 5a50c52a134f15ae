"""Sees what changed: compares fingerprints of data and gradients with those last taken, and writes updates."""

import math
from collections.abc import Iterable

import torch

from traincheck import values
from traincheck.collect.buffers import NULL, Buffers
from traincheck.collect.fingerprint import fingerprint, norms, zero_fingerprint
from traincheck.collect.needs import Needs
from traincheck.collect.variables import UNSEEN, Variable, Variables
from traincheck.trace.layout import POINTS

_BEFORE, _AFTER = range(len(POINTS))


class Changes:
    """Sweeps over the variables; every sweep attributes what it finds to one call."""

    def __init__(self, buffers: Buffers, variables: Variables, needs: Needs) -> None:
        self._buffers = buffers
        self._variables = variables
        names = buffers.names
        self._data, self._grad, self._requires = names("data"), names("grad"), names("requires_grad")
        self._none, self._zero = names(values.NONE), names(values.ZERO)
        self._nonzero, self._nonfinite = names(values.NONZERO), names(values.NONFINITE)
        self._true, self._false = names(values.TRUE), names(values.FALSE)
        self._watch_data = needs.wants_update("data")
        self._watch_grad = needs.wants_update("grad")
        self._watch_requires = needs.wants_update("requires_grad")
        self._grad_before = needs.wants_state("grad", "before_step")
        self._data_after = needs.wants_state("data", "after_step")
        self._pending: dict[tuple[int, int], bytes] = {}
        self._pack_state = buffers.pack("states")

    def data(self, call: int, among: Iterable[tuple[Variable, torch.Tensor]] | None = None) -> None:
        """Sweep values and requires_grad."""
        moved: list[tuple[Variable, torch.Tensor, int]] = []
        for variable, tensor in self._variables.live() if among is None else among:
            if variable.requires_grad is not tensor.requires_grad:
                self._flag(variable, tensor, call)
            seen = fingerprint(tensor)
            if seen != variable.data_print:
                moved.append((variable, tensor, seen))
        sizes = [tensor for _, tensor, _ in moved if _measurable(tensor)]
        measured = iter(norms(sizes))
        for variable, tensor, seen in moved:
            norm = next(measured) if _measurable(tensor) else None
            before, first = variable.data_class, variable.data_print == UNSEEN
            variable.data_print, variable.data_norm = seen, norm
            variable.data_class = self._classify(tensor, seen, norm)
            if not first and self._watch_data:
                self._update(variable, self._data, before, variable.data_class, call)

    def grads(self, call: int) -> None:
        """Sweep gradients."""
        moved: list[tuple[Variable, torch.Tensor, int]] = []
        for variable, tensor in self._variables.live():
            if variable.kind != "parameter":
                continue
            grad = tensor.grad
            if grad is None:
                if variable.grad_print != 0:
                    self._grad_changed(variable, 0, self._none, None, call)
                continue
            seen = fingerprint(grad) or 1
            if seen != variable.grad_print:
                moved.append((variable, grad, seen))
        measured = iter(norms([grad for _, grad, _ in moved if _measurable(grad)]))
        for variable, grad, seen in moved:
            norm = next(measured) if _measurable(grad) else None
            self._grad_changed(variable, seen, self._classify(grad, seen, norm), norm, call)

    def before_step(self, seq: int, held: set[int]) -> None:
        """Note the gradients that an optimizer is about to use: those it holds, and those that nobody holds."""
        if self._grad_before:
            for variable, tensor in self._variables.live():
                if variable.kind == "parameter" and (id(tensor) in held or not variable.held):
                    self._state(
                        variable, seq, self._grad, variable.grad_print, variable.grad_norm, variable.grad_class, 0
                    )

    def after_step(self, seq: int, held: set[int]) -> None:
        """Note the values that an optimizer's step has left."""
        if self._data_after:
            for variable, tensor in self._variables.live():
                if id(tensor) in held or not variable.held:
                    self._state(
                        variable, seq, self._data, variable.data_print, variable.data_norm, variable.data_class, 1
                    )

    def flush_states(self) -> None:
        """The step is over: write the states that were noted in it, the last of each variable and point."""
        append = self._buffers.append("states")
        for row in self._pending.values():
            append(row)
        self._pending.clear()

    def _state(
        self, variable: Variable, seq: int, attr: int, seen: int, norm: float | None, kind: int, point: int
    ) -> None:
        hashed = seen > 0
        for number in variable.ids:
            self._pending[number, point] = self._pack_state(
                number, seq, seen if hashed else 0, math.nan if norm is None else norm, attr, kind, NULL, point, hashed
            )

    def _grad_changed(self, variable: Variable, seen: int, kind: int, norm: float | None, call: int) -> None:
        before, first = variable.grad_class, variable.grad_print == UNSEEN
        variable.grad_print, variable.grad_class, variable.grad_norm = seen, kind, norm
        if first:
            before = self._none
            if kind == self._none:
                return
        if self._watch_grad:
            self._update(variable, self._grad, before, kind, call)

    def _flag(self, variable: Variable, tensor: torch.Tensor, call: int) -> None:
        variable.requires_grad = tensor.requires_grad
        if self._watch_requires:
            after = self._true if tensor.requires_grad else self._false
            before = self._false if tensor.requires_grad else self._true
            self._update(variable, self._requires, before, after, call)

    def _update(self, variable: Variable, attr: int, before: int, after: int, call: int) -> None:
        for number in variable.ids:
            self._buffers.add("updates", self._buffers.next_id(), number, call, attr, before, after)

    def _classify(self, tensor: torch.Tensor, seen: int, norm: float | None) -> int:
        if norm is not None and not math.isfinite(norm):
            # the squares may overflow where no value does
            return self._nonzero if bool(torch.isfinite(tensor.detach()).all()) else self._nonfinite
        return self._zero if seen == zero_fingerprint(tensor.nbytes) else self._nonzero


def _measurable(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() and tensor.layout is torch.strided and tensor.device.type != "meta"
