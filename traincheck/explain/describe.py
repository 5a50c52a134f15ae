"""Facts in words: names for ids, the path of calls around an event, one sentence a row."""

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from traincheck.datalog.program import ConstantValue
from traincheck.explain.model import Fact, Value
from traincheck.schema import RELATIONS

__all__ = ["Describer"]

_LONGEST = 60  # characters of a value that a sentence shows


class Describer:
    """Describes rows of the facts in a violation's window."""

    def __init__(self, facts: Mapping[str, pa.Table]) -> None:
        self._facts = facts
        self._rows: dict[str, dict[int, dict[str, Any]]] = {}

    def row(self, relation: str, number: Value) -> dict[str, Any] | None:
        """The row with this id of `call`, `update`, `variable`, `object` or `step`."""
        if relation not in self._rows:
            self._rows[relation] = {row["id"]: row for row in self._facts[relation].to_pylist()}
        return self._rows[relation].get(number) if isinstance(number, int) else None

    def path(self, call: Value) -> tuple[str, ...]:
        """Apis from the outermost call to this one."""
        apis: list[str] = []
        row = self.row("call", call)
        while row is not None:
            apis.append(row["api"])
            row = self.row("call", row["parent"])
        return tuple(reversed(apis))

    def name(self, sort: str, value: Value) -> str:
        """A value in words: the api of a call, the name of a variable; other values as they are written."""
        if value is None:
            return "none"
        row = self.row(_OWNERS[sort], value) if sort in _OWNERS else None
        if row is None:
            return f"'{value}'" if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)
        match sort:
            case "call":
                return f"'{row['api']}'"
            case "variable":
                return f"'{row['name']}'"
            case "object":
                return f"a '{row['type']}'"
            case "window":
                return f"step {row['step']} of rank {row['rank']}"
        return f"the change of {row['attr']} of {self.name('variable', row['variable'])}"

    def fact(self, relation: str, values: Mapping[str, Value]) -> Fact:
        """A row with its place and its sentence."""
        event = self._event(relation, values)
        step, rank = (_first(values.get(key), event.get(key)) for key in ("step", "rank"))
        call = event.get("id") if "api" in event else event.get("call")
        row = self.row("call", call)
        return Fact(
            relation=relation,
            values=dict(values),
            text=self._sentence(relation, values, step),
            step=step,
            rank=rank,
            path=self.path(call),
            site=row["site"] if row is not None else None,
        )

    def _event(self, relation: str, values: Mapping[str, Value]) -> Mapping[str, Any]:
        """The call or update that a row is or is about."""
        if relation in ("call", "update"):
            return values
        number = values.get("inner") if relation == "contains" else values.get("call")
        return self.row("call", number) or self.row("update", number) or {}

    def _sentence(self, relation: str, values: Mapping[str, Value], step: int | None) -> str:
        if relation in _SENTENCES:
            return _SENTENCES[relation](self, values) + self._place(relation, values, step)
        columns = RELATIONS[relation].columns if relation in RELATIONS else ()
        shown = [
            f"{column.name} {self.name(column.sort, values[column.name])}"
            for column in columns
            if values.get(column.name) is not None
        ]
        return f"{relation}: {', '.join(shown)}"

    def _place(self, relation: str, values: Mapping[str, Value], step: int | None) -> str:
        parts = [f"in step {step}"] if step is not None and relation in _EVENTFUL else []
        if relation == "call":
            parts += [f"on rank {values['rank']}"] if values.get("rank") else []
            parts += [f"called from {values['site']}"] if values.get("site") else []
        return f" {', '.join(parts)}" if parts else ""

    def either(self, number: Value) -> str:
        """A call or an update by its id."""
        return self.name("call" if self.row("call", number) is not None else "update", number)


_OWNERS = {"call": "call", "variable": "variable", "object": "object", "window": "step", "update": "update"}
_EVENTFUL = frozenset({"call", "update", "state", "metric"})


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _shown(value: ConstantValue | None) -> str:
    text = "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _call(_: Describer, row: Mapping[str, Value]) -> str:
    outcome = "" if row.get("outcome") in ("returned", None) else f" ({row['outcome']})"
    return f"'{row['api']}'{outcome}"


def _contains(describer: Describer, row: Mapping[str, Value]) -> str:
    return f"{describer.either(row['outer'])} encloses {describer.either(row['inner'])}"


def _part(role: str) -> Callable[[Describer, Mapping[str, Value]], str]:
    def sentence(describer: Describer, row: Mapping[str, Value]) -> str:
        what = f"{role} {row['name']}" if row.get("name") else role
        details = " ".join(_shown(row[key]) for key in ("dtype", "shape", "device") if row.get(key) is not None)
        value = _shown(_first(row.get("value"), row.get("class"), row.get("type")))
        return f"{what} of {describer.name('call', row['call'])} is {details or value}"

    return sentence


def _context(describer: Describer, row: Mapping[str, Value]) -> str:
    return f"{row['key']} is {_shown(row['value'])} during {describer.name('call', row['call'])}"


def _variable(_: Describer, row: Mapping[str, Value]) -> str:
    details = ", ".join(_shown(row[key]) for key in ("dtype", "shape") if row.get(key) is not None)
    flag = f", requires_grad {row['requires_grad']}" if row.get("requires_grad") is not None else ""
    return f"{row['kind']} '{row['name']}' ({details}{flag})"


def _holds(describer: Describer, row: Mapping[str, Value]) -> str:
    optimizer, variable = describer.name("object", row["optimizer"]), describer.name("variable", row["variable"])
    return f"{optimizer} holds {variable} in group {row['group']}"


def _update(describer: Describer, row: Mapping[str, Value]) -> str:
    by = f" by {describer.name('call', row['call'])}" if row.get("call") is not None else ""
    change = f"from {_shown(row['before'])} to {_shown(row['after'])}"
    return f"{row['attr']} of {describer.name('variable', row['variable'])} changes {change}{by}"


def _state(describer: Describer, row: Mapping[str, Value]) -> str:
    norm = f", norm {_shown(row['norm'])}" if row.get("norm") is not None else ""
    return (
        f"{row['attr']} of {describer.name('variable', row['variable'])} is {_shown(row['class'])}{norm} {row['point']}"
    )


def _exchange(describer: Describer, row: Mapping[str, Value]) -> str:
    peer = f", with rank {row['peer']} named" if row.get("peer") is not None else ""
    return f"{describer.name('call', row['call'])} is number {row['number']} of '{row['channel']}'{peer}"


def _member(_: Describer, row: Mapping[str, Value]) -> str:
    return f"rank {row['rank']} belongs to '{row['channel']}'"


def _metric(_: Describer, row: Mapping[str, Value]) -> str:
    return f"{row['name']} is {_shown(row['value'])}"


def _step(_: Describer, row: Mapping[str, Value]) -> str:
    return f"step {row['step']} of rank {row['rank']}"


def _subclass(_: Describer, row: Mapping[str, Value]) -> str:
    return f"'{row['sub']}' is a '{row['super']}'"


_SENTENCES: Mapping[str, Callable[[Describer, Mapping[str, Value]], str]] = {
    "call": _call,
    "contains": _contains,
    "arg": _part("argument"),
    "result": _part("result"),
    "context": _context,
    "variable": _variable,
    "holds": _holds,
    "update": _update,
    "state": _state,
    "exchange": _exchange,
    "member": _member,
    "metric": _metric,
    "step": _step,
    "subclass": _subclass,
}
