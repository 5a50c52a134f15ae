"""Facts made by hand: a training loop small enough to reason about, in the relations of the schema."""

from collections.abc import Mapping
from itertools import count
from typing import Any

import pyarrow as pa

from traincheck.schema import RELATIONS

_ARROW = {"int": pa.int64(), "float": pa.float64(), "str": pa.string()}

STEP = "torch.optim.sgd.SGD.step"
ZERO_GRAD = "torch.optim.sgd.SGD.zero_grad"
BACKWARD = "torch.Tensor.backward"
_BASES = {
    STEP: "torch.optim.optimizer.Optimizer.step",
    ZERO_GRAD: "torch.optim.optimizer.Optimizer.zero_grad",
}


class MadeFacts:
    """Rows by relation; columns left out are null."""

    def __init__(self) -> None:
        self._rows: dict[str, list[dict[str, Any]]] = {name: [] for name in RELATIONS}
        self._ids = count(1)
        self._seen: dict[str, int] = {}
        self.add("process", id=0, rank=0, world=1, role="main", outcome="returned")

    def add(self, relation: str, **columns: Any) -> None:
        self._rows[relation].append(columns)

    def id(self) -> int:
        return next(self._ids)

    def call(self, api: str, step: int, **columns: Any) -> int:
        """A call that entered and left at once; returns its id."""
        number = self.id()
        row = {
            "id": number, "api": api, "process": 0, "rank": 0, "thread": 0, "step": step, "stage": "train",
            "enter": number, "exit": self.id(), "outcome": "returned", "site": "train.py:1",
        }  # fmt: skip
        self.add("call", **(row | columns))
        self.add("ordinal", call=number, index=self._seen.get(api, 0))
        self._seen[api] = self._seen.get(api, 0) + 1
        return number

    def update(self, call: int, variable: int, attr: str, before: str, after: str, step: int) -> None:
        number = self.id()
        self.add(
            "update", id=number, variable=variable, attr=attr, before=before, after=after,
            rank=0, process=0, step=step, at=number, call=call,
        )  # fmt: skip
        self.add("contains", outer=call, inner=number)

    def tables(self) -> Mapping[str, pa.Table]:
        for api, base in _BASES.items():
            self.add("subclass", sub=api, super=base)
        return {
            name: pa.table(
                [
                    pa.array([row.get(column.name) for row in self._rows[name]], _ARROW[column.type])
                    for column in relation.columns
                ],
                names=[column.name for column in relation.columns],
            )
            for name, relation in RELATIONS.items()
        }


def loop(
    steps: int = 4, *, zero_grad: bool = True, moves: bool = True, double_step: bool = False
) -> Mapping[str, pa.Table]:
    """zero_grad, backward, step; one parameter held by one optimizer."""
    return made_loop(steps, zero_grad=zero_grad, moves=moves, double_step=double_step).tables()


def made_loop(steps: int, *, zero_grad: bool = True, moves: bool = True, double_step: bool = False) -> MadeFacts:
    """The facts of `loop`, to add others to."""
    facts = MadeFacts()
    weight, optimizer = facts.id(), facts.id()
    facts.add("variable", id=weight, name="fc.weight", kind="parameter", rank=0, dtype="float32", requires_grad="true")
    facts.add("holds", optimizer=optimizer, group=0, variable=weight)
    for step in range(steps):
        facts.add("step", id=facts.id(), rank=0, process=0, step=step, enter=0, exit=0, closed="true")
        if zero_grad:
            facts.call(ZERO_GRAD, step, receiver=optimizer)
        backward = facts.call(BACKWARD, step)
        facts.update(backward, weight, "grad", "none", "nonzero", step)
        for _ in range(2 if double_step else 1):
            moved = facts.call(STEP, step, receiver=optimizer)
            if moves:
                facts.update(moved, weight, "data", "nonzero", "nonzero", step)
    return facts
