"""What the trace tells about the things that an example names: what a call changed, what an optimizer holds."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from traincheck.explain.case import Case
from traincheck.explain.model import Told

__all__ = ["known"]

_MOST_NAMES = 4
_BUILDER = ".__init__"


def known(case: Case, facts: Mapping[str, pa.Table], step: int | None) -> tuple[Told, ...]:
    """A few lines for each call, variable and object of the example, as things were in `step`."""
    told = _Known(case, facts, step)
    lines: list[Told] = []
    for name, value in case.binding.items():
        if name in case.law.arguments or not isinstance(value, int):
            continue
        match case.sorts.get(name):
            case "call":
                lines += told.call(value)
            case "variable":
                lines += told.variable(value)
            case "object":
                lines += told.thing(value)
    for name, value in case.example.items():  # optimizers that only `when` speaks of
        if case.sorts.get(name) == "object" and isinstance(value, int):
            lines += told.thing(value)
    return tuple(dict.fromkeys(lines))


class _Known:
    """Looks things up in all facts of the trace, each relation by one filter."""

    def __init__(self, case: Case, facts: Mapping[str, pa.Table], step: int | None) -> None:
        self._case = case
        self._facts = facts
        self._step = step
        self._told: set[int] = set()

    def call(self, number: int) -> Iterator[Told]:
        """What it changed, or its place among what ranks do together, and what is known of its object."""
        row = self._case.describer.row("call", number)
        if row is None:
            return
        inside = self._rows("contains", outer=number)
        changes: dict[str, list[str]] = defaultdict(list)
        for update in self._among("update", "id", [one["inner"] for one in inside]):
            changes[update["attr"]].append(self._name(update["variable"]))
        changed = "; ".join(f"the {attr} of {_listed(names)}" for attr, names in changes.items()) or "nothing"
        step = f" in step {row['step']}" if row["step"] is not None else ""
        told = f" changed {changed}" if self._facts["update"].num_rows else ""
        for exchange in self._rows("exchange", call=number):
            told = f" is number {exchange['number']} of '{exchange['channel']}' on rank {row['rank']}"
        receiver = tuple(self.thing(row["receiver"])) if row["receiver"] is not None else ()
        if told or receiver:
            yield Told(f"'{row['api']}'{step}{told}", receiver)

    def thing(self, number: int) -> Iterator[Told]:
        """Where it was built, and what it holds when it is an optimizer; nothing the second time."""
        if number in self._told:
            return
        self._told.add(number)
        built = self._built(number)
        held = [row["variable"] for row in self._rows("holds", optimizer=number)]
        owner = self._type(number)
        if built:
            yield Told(f"the '{owner}' was built at {built}")
        if held:
            names = [self._name(variable) for variable in held]
            yield Told(f"the '{owner}' holds {_listed(names)}{self._trainable(held)}")

    def variable(self, number: int) -> Iterator[Told]:
        """Whether it asks for a gradient, has one, and which optimizer holds it."""
        row = self._case.describer.row("variable", number)
        if row is None:
            return
        lines = [Told(text) for text in self._gradient(number)]
        lines += [Told(f"set to requires_grad {after} at {site}") for after, site in self._frozen(number)]
        for holder in {holds["optimizer"] for holds in self._rows("holds", variable=number)}:
            built = self._built(holder)
            lines.append(Told(f"held by a '{self._type(holder)}'" + (f" built at {built}" if built else "")))
        if not self._rows("holds", variable=number) and self._facts["holds"].num_rows:
            lines.append(Told("held by no optimizer"))
        flag = f" has requires_grad {row['requires_grad']}" if row["requires_grad"] is not None else ""
        yield Told(f"{row['kind'] or 'variable'} '{row['name']}'{flag}", tuple(lines))

    def _gradient(self, variable: int) -> Iterator[str]:
        for state in self._states([variable]):
            has = "no gradient" if state["class"] == "none" else f"a {state['class']} gradient"
            yield f"has {has} before the optimizer step of step {self._step}"

    def _frozen(self, variable: int) -> Iterator[tuple[str, str]]:
        for update in self._rows("update", variable=variable, attr="requires_grad"):
            row = self._case.describer.row("call", update["call"])
            if row is not None and row["site"]:
                yield update["after"], row["site"]

    def _trainable(self, held: Sequence[int]) -> str:
        """How many of an optimizer's variables ask for gradients, and have them before the step."""
        rows = self._among("variable", "id", held)
        asking = sum(row["requires_grad"] == "true" for row in rows)
        states = list(self._states(held))
        having = sum(state["class"] != "none" for state in states)
        text = f"; {_share(asking, len(rows))} requires a gradient"
        return text + (f", {_share(having, len(states))} has one before the step" if states else "")

    def _states(self, variables: Sequence[int]) -> Iterator[dict[str, Any]]:
        if self._step is not None:
            rows = self._rows("state", attr="grad", point="before_step", step=self._step)
            yield from (row for row in rows if row["variable"] in set(variables))

    def _built(self, number: int) -> str | None:
        """The source line of the call that built an object."""
        calls = [row for row in self._rows("call", receiver=number) if row["api"].endswith(_BUILDER) and row["site"]]
        return min(calls, key=lambda row: row["enter"])["site"] if calls else None

    def _type(self, number: int) -> str:
        row = self._case.describer.row("object", number)
        return row["type"] if row is not None else "optimizer"

    def _name(self, variable: int) -> str:
        row = self._case.describer.row("variable", variable)
        return row["name"] if row is not None else str(variable)

    def _rows(self, relation: str, **wanted: object) -> list[dict[str, Any]]:
        table = self._facts[relation]
        mask = None
        for column, value in wanted.items():
            equal = pc.equal(table[column], value)
            mask = equal if mask is None else pc.and_kleene(mask, equal)
        rows: list[dict[str, Any]] = table.filter(mask).to_pylist()
        return rows

    def _among(self, relation: str, column: str, values: Iterable[int]) -> list[dict[str, Any]]:
        table = self._facts[relation]
        rows: list[dict[str, Any]] = table.filter(pc.is_in(table[column], pa.array(values, pa.int64()))).to_pylist()
        return rows


def _listed(names: Iterable[str]) -> str:
    """The first few names, quoted, and how many there are when there are more."""
    different = list(dict.fromkeys(names))
    shown = ", ".join(f"'{name}'" for name in different[:_MOST_NAMES])
    return shown + (f" and {len(different) - _MOST_NAMES} more" if len(different) > _MOST_NAMES else "")


def _share(part: int, whole: int) -> str:
    return "none of them" if part == 0 else "each of them" if part == whole else f"{part} of {whole}"
