"""Sees what changed: compares fingerprints of data and gradients with those last taken, and writes updates."""

import math
from collections.abc import Iterable

import torch

from traincheck import values
from traincheck.collect.buffers import NULL, Buffers
from traincheck.collect.fingerprint import norms, readable, zero_fingerprint
from traincheck.collect.needs import Needs
from traincheck.collect.variables import NO_GRADIENT, UNSEEN, Variable, Variables
from traincheck.trace.layout import POINTS

_BEFORE_STEP, _AFTER_STEP = range(len(POINTS))

_Moved = list[tuple[Variable, torch.Tensor, int]]


class Changes:
    """Sweeps over the variables; every sweep attributes what it finds to one call."""

    def __init__(self, buffers: Buffers, variables: Variables, needs: Needs) -> None:
        self._variables = variables
        self._next_id = buffers.next_id
        names = buffers.names
        self._data, self._grad, self._requires = names("data"), names("grad"), names("requires_grad")
        self._none, self._zero = names(values.NONE), names(values.ZERO)
        self._nonzero, self._nonfinite = names(values.NONZERO), names(values.NONFINITE)
        self._true, self._false = names(values.TRUE), names(values.FALSE)
        self._data_updates, self._grad_updates = needs.wants_update("data"), needs.wants_update("grad")
        self._flag_updates = needs.wants_update("requires_grad")
        self._grad_states = needs.wants_state("grad", "before_step")
        self._data_states = needs.wants_state("data", "after_step")
        self._watches_data = self._data_updates or self._data_states
        self._watches_grad = self._grad_updates or self._grad_states
        self._pending: dict[tuple[int, int], bytes] = {}
        self._pack_state, self._append_state = buffers.pack("states"), buffers.append("states")
        self._pack_update, self._append_update = buffers.pack("updates"), buffers.append("updates")

    def data(self, call: int) -> None:
        """Sweep values and requires_grad."""
        moved: _Moved = []
        for variable, tensor in self._variables.live():
            if variable.requires_grad is not tensor.requires_grad:
                self._flag(variable, tensor, call)
            if self._watches_data:
                seen = variable.data_of(tensor)
                if seen != variable.data_print:
                    moved.append((variable, tensor, seen))
        for (variable, tensor, seen), norm in zip(moved, _norms(moved), strict=True):
            self._data_changed(variable, tensor, seen, norm, call)

    def buffers(self, call: int, among: Iterable[torch.Tensor | None]) -> None:
        """Sweep the values of one module's own buffers; their norms are left for the end of the step."""
        if not self._watches_data:
            return
        for tensor in among:
            variable = self._variables.find(tensor) if tensor is not None else None
            if variable is not None and tensor is not None:
                seen = variable.data_of(tensor)
                if seen != variable.data_print:
                    self._data_changed(variable, tensor, seen, None, call)

    def grads(self, call: int) -> None:
        """Sweep gradients."""
        if not self._watches_grad:
            return
        moved: _Moved = []
        for variable, tensor in self._variables.live():
            if variable.kind == "buffer":
                continue
            grad = tensor.grad
            if grad is None:
                if variable.grad_print != NO_GRADIENT:
                    self._grad_changed(variable, NO_GRADIENT, self._none, None, call)
                continue
            seen = variable.grad_of(grad)
            if seen != variable.grad_print:
                moved.append((variable, grad, seen))
        for (variable, grad, seen), norm in zip(moved, _norms(moved), strict=True):
            self._grad_changed(variable, seen, self._classify(grad, seen, norm), norm, call)

    def before_step(self, seq: int, held: set[int]) -> None:
        """Note the gradients that an optimizer is about to use: those it holds, and those that nobody holds."""
        if self._grad_states:
            for variable, tensor in self._variables.live():
                if variable.kind != "buffer" and (id(tensor) in held or not variable.held):
                    self._state(
                        variable,
                        seq,
                        self._grad,
                        variable.grad_print,
                        variable.grad_norm,
                        self._none if variable.grad_print == NO_GRADIENT else variable.grad_class,
                        _BEFORE_STEP,
                    )

    def after_step(self, seq: int, held: set[int]) -> None:
        """Note the values that an optimizer's step has left."""
        if not self._data_states:
            return
        noted = [(v, tensor) for v, tensor in self._variables.live() if id(tensor) in held or not v.held]
        stale: _Moved = [(v, tensor, v.data_print) for v, tensor in noted if v.data_norm is None]
        for (variable, tensor, seen), norm in zip(stale, _norms(stale), strict=True):
            variable.data_norm, variable.data_class = norm, self._classify(tensor, seen, norm)
        for variable, _ in noted:
            self._state(
                variable, seq, self._data, variable.data_print, variable.data_norm, variable.data_class, _AFTER_STEP
            )

    def forget(self) -> None:
        """Steps were left out: what changed in them is nobody's, so start from the values of now."""
        for variable, _ in self._variables.live():
            variable.data_print = variable.grad_print = UNSEEN
        self.data(NULL)
        self.grads(NULL)

    def flush_states(self) -> None:
        """The step is over: write the states that were noted in it, the last of each variable and point."""
        for row in self._pending.values():
            self._append_state(row)
        self._pending.clear()

    def _state(
        self, variable: Variable, seq: int, attr: int, seen: int, norm: float | None, kind: int, point: int
    ) -> None:
        hashed = seen > 0
        for number in variable.ids:
            self._pending[number, point] = self._pack_state(
                number, seq, seen if hashed else 0, math.nan if norm is None else norm, attr, kind, NULL, point, hashed
            )

    def _data_changed(self, variable: Variable, tensor: torch.Tensor, seen: int, norm: float | None, call: int) -> None:
        before, first = variable.data_class, variable.data_print == UNSEEN
        variable.data_print, variable.data_norm = seen, norm
        variable.data_class = self._classify(tensor, seen, norm)
        if self._data_updates and not first:
            self._update(variable, self._data, before, variable.data_class, call)

    def _grad_changed(self, variable: Variable, seen: int, kind: int, norm: float | None, call: int) -> None:
        before = self._none if variable.grad_print == NO_GRADIENT else variable.grad_class
        first = variable.grad_print == UNSEEN
        variable.grad_print, variable.grad_class, variable.grad_norm = seen, kind, norm
        if self._grad_updates and not first:
            self._update(variable, self._grad, before, kind, call)

    def _flag(self, variable: Variable, tensor: torch.Tensor, call: int) -> None:
        variable.requires_grad = tensor.requires_grad
        if self._flag_updates:
            before, after = (self._false, self._true) if tensor.requires_grad else (self._true, self._false)
            self._update(variable, self._requires, before, after, call)

    def _update(self, variable: Variable, attr: int, before: int, after: int, call: int) -> None:
        for number in variable.ids:
            self._append_update(self._pack_update(self._next_id(), number, call, attr, before, after))

    def _classify(self, tensor: torch.Tensor, seen: int, norm: float | None) -> int:
        """The class of the values with fingerprint `seen`; without a norm they are taken to be finite."""
        if norm is None:
            return self._zero if seen == zero_fingerprint(tensor.nbytes) else self._nonzero
        if not math.isfinite(norm):  # the squares may overflow where no value does
            return self._nonzero if bool(torch.isfinite(tensor.detach()).all()) else self._nonfinite
        if norm == 0.0:  # zeros of either sign, or values whose squares vanish
            return self._nonzero if bool(tensor.detach().any()) else self._zero
        return self._nonzero


def _norms(moved: _Moved) -> list[float | None]:
    """The norm of each tensor, or None where there is none to take."""
    chosen = [_measurable(tensor) for _, tensor, _ in moved]
    found = iter(norms([tensor for (_, tensor, _), measurable in zip(moved, chosen, strict=True) if measurable]))
    return [next(found) if measurable else None for measurable in chosen]


def _measurable(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() and readable(tensor)
