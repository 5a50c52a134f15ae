"""The fact schema, version 1: every relation that rules may speak of, with typed columns.

A column's `type` is its storage (int, float or str; flags are the strings "true" and "false"), its `sort`
is what the values mean. Two columns join sensibly only when their sorts agree, so the rule checker
compares sorts. An absent value (null) matches no constant and no variable, only an unnamed column.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

SCHEMA_VERSION = 1

ColumnType = Literal["int", "float", "str"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a relation: its name, storage type and sort."""

    name: str
    type: ColumnType
    sort: str


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation: its columns in positional order, and a sentence for `traincheck rules list`."""

    name: str
    columns: tuple[Column, ...]
    doc: str

    def index(self, column: str) -> int:
        """Position of `column`; KeyError when the relation has none of that name."""
        for position, candidate in enumerate(self.columns):
            if candidate.name == column:
                return position
        raise KeyError(column)


# sort -> storage type. The sorts before the blank line are identities: never learned from.
SORTS: Mapping[str, ColumnType] = MappingProxyType(
    {
        "call": "int",
        "variable": "int",
        "update": "int",
        "object": "int",
        "process": "int",
        "window": "int",
        "tensor": "int",
        "thread": "int",
        "seq": "int",
        "time": "int",
        "fingerprint": "str",
        "site": "str",
        "record": "int",
        "span": "int",
        "parts": "int",
        "channel": "str",
        # Sorts that one may learn from.
        "rank": "int",
        "step": "int",
        "number": "float",
        "integer": "int",
        "text": "str",
        "api": "str",
        "concept": "str",
        "name": "str",
        "kind": "str",
        "attr": "str",
        "class": "str",
        "value": "str",
        "key": "str",
        "dtype": "str",
        "shape": "str",
        "device": "str",
        "type": "str",
        "flag": "str",
        "stage": "str",
        "point": "str",
        "outcome": "str",
    }
)

IDENTITY_SORTS = frozenset(
    {
        "call",
        "variable",
        "update",
        "object",
        "process",
        "window",
        "tensor",
        "thread",
        "seq",
        "time",
        "fingerprint",
        "site",
        "record",
        "span",
        "parts",
        "channel",
    }
)


def _relation(name: str, columns: str, doc: str) -> Relation:
    parsed = []
    for entry in columns.split():
        column, _, sort = entry.partition(":")
        sort = sort or column
        parsed.append(Column(column, SORTS[sort], sort))
    return Relation(name, tuple(parsed), doc)


_VALUE_COLUMNS = (
    "type:type value:value class:class number:number dtype:dtype shape:shape device:device "
    "tensor:tensor fingerprint:fingerprint"
)

RELATIONS: Mapping[str, Relation] = MappingProxyType(
    {
        relation.name: relation
        for relation in (
            _relation(
                "process",
                "id:process rank:rank pid:integer world:integer host:text python:text torch:text argv:text "
                "role:kind outcome:outcome",
                "one process of the run; role is main or worker; outcome is null until the process ended",
            ),
            _relation(
                "step",
                "id:window rank:rank process:process step:step enter:seq exit:seq closed:flag",
                "one training step on one rank: the events with enter <= seq < exit; closed once no more can come",
            ),
            _relation(
                "window",
                "rank:rank first_step:step last_step:step complete:flag",
                "which steps were traced in full; under sampling the steps between are not",
            ),
            _relation(
                "call",
                "id:call api:api parent:call process:process rank:rank thread:thread step:step stage:stage "
                "enter:seq exit:seq outcome:outcome receiver:object site:site time:time",
                "one call; stage is init, train or eval; exit and outcome are null while it is open",
            ),
            _relation("contains", "outer:call inner:call", "outer encloses inner, a call or an update, at any depth"),
            _relation(
                "arg", f"call:call name:name {_VALUE_COLUMNS}", "one argument of a call, bound to its parameter name"
            ),
            _relation(
                "result",
                f"call:call name:name {_VALUE_COLUMNS}",
                "one result of a call; name is '' or its index or key",
            ),
            _relation(
                "dimension",
                "call:call role:kind name:name axis:integer size:number",
                "how large an argument or result (role arg or result) was along an axis; the last of several is -1 "
                "too, and a list has axis 0 only",
            ),
            _relation("raised", "call:call type:type message:text", "the exception a call ended with"),
            _relation(
                "context",
                "call:call key:key value:value",
                "what held while the call ran: grad_mode, training, autocast...",
            ),
            _relation(
                "object",
                "id:object type:api process:process rank:rank",
                "an optimizer, module, scheduler, loader or sampler",
            ),
            _relation(
                "variable",
                "id:variable name:name kind:kind owner:object rank:rank dtype:dtype shape:shape device:device "
                "requires_grad:flag ties:variable",
                "a tensor under a name; kind is parameter or buffer; ties is the variable whose tensor it shares",
            ),
            _relation(
                "holds", "optimizer:object group:integer variable:variable", "what an optimizer was given to train"
            ),
            _relation(
                "hyperparameter",
                "optimizer:object group:integer name:name value:value number:number",
                "a parameter group's setting as it was when the optimizer was built",
            ),
            _relation(
                "adjustment",
                "optimizer:object group:integer name:name before:value after:value number:number rank:rank "
                "process:process step:step at:seq call:call",
                "a change of a parameter group's setting; number is the new value, call the innermost call around it",
            ),
            _relation(
                "update",
                "id:update variable:variable attr:attr before:class after:class rank:rank process:process step:step "
                "at:seq call:call",
                "a change of a variable: attr is data, grad, requires_grad, ...; call is the innermost call around it",
            ),
            _relation(
                "state",
                "variable:variable attr:attr rank:rank step:step point:point class:class fingerprint:fingerprint "
                "norm:number minimum:number maximum:number nonfinite:integer at:seq",
                "a summary of a variable's value; point says when in the step it was taken",
            ),
            _relation(
                "metric", "rank:rank step:step name:name value:number", "a number the run reported, such as its loss"
            ),
            _relation(
                "stored",
                "call:call place:name name:name owner:object variable:variable dtype:dtype shape:shape class:class "
                "fingerprint:fingerprint taken:seq outdated:flag earlier:flag",
                "a tensor that a call saves or loads, in a container at some place; owner and variable say whose it is "
                "by name, taken when a state_dict() gave it out; outdated: it is the model's, changed since; "
                "earlier: what it is saved with is, as a whole, a state that was given out before",
            ),
            _relation(
                "live",
                "call:call place:name name:name owner:object variable:variable kind:kind dtype:dtype shape:shape "
                "class:class fingerprint:fingerprint moves:flag tensor:tensor",
                "a parameter or persistent buffer of a model, as it is when it is saved or has been loaded; moves says "
                "whether the last optimizer step changed it",
            ),
            _relation(
                "ordinal",
                "call:call index:integer turn:integer",
                "how many calls of the same api the process made before it, and turn: how many on the same receiver",
            ),
            _relation(
                "invokes", "outer:api inner:api", "the call graph: some call of outer directly encloses one of inner"
            ),
            _relation(
                "subclass",
                "sub:api super:api",
                "api generalisation: a method and the base method it overrides or inherits",
            ),
            _relation(
                "exchange",
                "call:call channel:channel number:integer operation:api peer:rank",
                "a call that takes part in a collective or transfer, or waits for one; channel is a group of ranks, or "
                "who sends to whom; number counts what each rank does on it; peer is the source or destination",
            ),
            _relation("member", "channel:channel rank:rank", "who takes part in what goes over a channel"),
            _relation(
                "unrecorded",
                "api:api",
                "a function that was given up: it was called too often, or steps ended in it; no call of it is here",
            ),
            _relation(
                "overrides",
                "type:api sub:api super:api",
                "objects of this type have another version of a method than torch's, whether it is called or not",
            ),
            # what only traces imported from another tool's logs have: its records, under its own names
            _relation(
                "record",
                "id:record process:process rank:rank step:step at:seq call:call variable:variable time:time "
                "index:integer given:parts returned:parts sketch:text",
                "a record of an imported log: the start of a call or a snapshot of a variable; index counts the "
                "calls of one api on one thread",
            ),
            _relation(
                "property",
                "record:record key:key value:value",
                "what a record says: meta_vars.step, attributes.dtype...",
            ),
            _relation(
                "part",
                "id:parts role:kind place:name key:key value:value number:number",
                "a piece of what calls were given or returned; role is positional, keyword, input or output (tensors)",
            ),
            _relation(
                "span",
                "id:span variable:variable process:process attr:attr value:value number:number before:value "
                "before_number:number at:seq begin:time end:time last:record",
                "how long a variable's attribute kept a value; last is the last record that shows it",
            ),
        )
    }
)
