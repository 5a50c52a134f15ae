"""One function for each kind of relation: what the original's parameters are in the terms of our templates."""

import hashlib
import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from traincheck.dsl.syntax import Atom, Define, Value
from traincheck.facts.plain import plain
from traincheck.facts.recorded import argument_pieces, kind_of
from traincheck.integrations.orderlab.conditions import Unsupported, alias
from traincheck.integrations.orderlab.signatures import parameters

_UNCONSTRAINED = "unconstrained"
_LONGEST_NAME = 90

Param = Mapping[str, Any]
Arguments = tuple[tuple[str, Value], ...]


@dataclass
class Translation:
    """What one invariant becomes: the template, its arguments for each invariant of ours, and facts they need.

    `records` names, for each group of the precondition, the records of the template that it speaks of; `notes` says
    what the original wrote down and never looked at.
    """

    template: str
    arguments: list[Arguments]
    records: Mapping[str, Sequence[str]]
    facts: list[Define] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    conditional: str | None = None  # the template to take instead when there is a precondition
    ordered: list[str] = field(default_factory=list)  # functions that the conditional template looks at


def contain(params: Sequence[Param]) -> Translation:
    """APIContainRelation: a call contains another, with an exception or arguments, or a change of a variable."""
    parent, child = _exactly(params, "APIParam", None)
    found = Translation("", [], {"parent_func_call_pre": ["R"]})
    _ignored(parent, found, "outer function")
    outer = ("Outer", _text(parent, "api_full_name"))
    match child["param_type"]:
        case "APIParam":
            named: dict[str, str] = {"Outer": outer[1], "Inner": _text(child, "api_full_name")}
            kind = "call"
            if child.get("exception") is not None:
                kind, named["Exception"] = "raise", str(child["exception"])
            asked = (child.get("arguments") or {}).get("args") or {}
            if asked:
                named["Arguments"] = _demand(named["Inner"], asked, found)
            found.template = f"orderlab_contains_{kind}{'_with' if asked else ''}"
        case "VarTypeParam" | "VarNameParam" as name:
            named = {"Outer": outer[1], "Kind": kind_of(_text(child, "var_type"))}
            if name == "VarNameParam":
                named["Name"] = _text(child, "var_name")
            named["Attr"] = alias(_text(child, "attr_name"))
            for parameter, key in (("Before", "pre_value"), ("After", "post_value")):
                named[parameter] = plain(child[key]) if key in child else _UNCONSTRAINED
            if "const_value" in child:
                found.notes.append("const_value of the change is not looked at, as in the original")
            found.template = f"orderlab_contains_{'named_' if name == 'VarNameParam' else ''}change"
        case kind:
            raise Unsupported(f"a call cannot contain a '{kind}'")
    found.arguments = [_values(named)]
    return found


def consistency(params: Sequence[Param]) -> Translation:
    """ConsistencyRelation: two variables hold the same value while both live."""
    first, second = _exactly(params, "VarTypeParam", "VarTypeParam")
    sides = [(kind_of(_text(side, "var_type")), alias(_text(side, "attr_name"))) for side in (first, second)]
    (kind, attr), (other_kind, other_attr) = sides
    named = {"Kind": kind, "Attr": attr}
    if sides[0] != sides[1]:
        named |= {"OtherKind": other_kind, "OtherAttr": other_attr}
    template = "orderlab_consistent" if sides[0] == sides[1] else "orderlab_consistent_with"
    return Translation(template, [_values(named)], {"var": ["R", "Q"]})


def cover(params: Sequence[Param]) -> Translation:
    """FunctionCoverRelation: each function of the list comes before the next."""
    return _chain(params, "cover", "func_cover", waits=1)


def lead(params: Sequence[Param]) -> Translation:
    """FunctionLeadRelation: each function of the list is followed by the next."""
    return _chain(params, "lead", "func_lead", waits=0)


def output(params: Sequence[Param]) -> Translation:
    """ConsistentOutputRelation: every returned tensor has a property."""
    api, variable = _exactly(params, "APIParam", "VarTypeParam")
    if "const_value" not in variable:
        raise Unsupported("it does not say which value results have")
    named = {
        "Api": _text(api, "api_full_name"),
        "Key": alias(_text(variable, "attr_name")),
        "Value": plain(variable["const_value"]),
    }
    return _of_call("orderlab_output_is", named, api)


def input_output(params: Sequence[Param]) -> Translation:
    """ConsistentInputOutputRelation: a property of an input tensor and one of a returned tensor are equal."""
    given, api, returned = _exactly(params, "InputOutputParam", "APIParam", "InputOutputParam")
    if given.get("is_input") is not True or returned.get("is_input") is not False:
        raise Unsupported("its tensors are not an input and an output, in this order")
    (place, key), (other_place, other_key) = _path(given), _path(returned)
    named = {"Api": _text(api, "api_full_name"), "Input": place, "InputKey": key}
    return _of_call("orderlab_output_keeps_input", named | {"Output": other_place, "OutputKey": other_key}, api)


def threshold(params: Sequence[Param]) -> Translation:
    """ThresholdRelation: the first is at least the second; one is an argument, the other a property of a result."""
    larger, api, smaller = _exactly(params, "InputOutputParam", "APIParam", "InputOutputParam")
    if bool(larger.get("is_input")) == bool(smaller.get("is_input")):
        raise Unsupported("one of its sides must be an input and the other an output")
    at_most = bool(larger["is_input"])
    argument, result = (larger, smaller) if at_most else (smaller, larger)
    place, key = _path(result)
    function = _text(api, "api_full_name")
    named = {"Api": function, "Output": place, "Key": key, "Argument": _text(argument, "name")}
    found = _of_call(f"orderlab_output_at_{'most' if at_most else 'least'}", named, api)
    found.facts += _positions(function)
    return found


def distinct(params: Sequence[Param]) -> Translation:
    """DistinctArgumentRelation: no two calls in a step and thread have the same arguments."""
    (api,) = _exactly(params, "APIParam")
    found = Translation(
        "orderlab_distinct_arguments", [_values({"Api": _text(api, "api_full_name")})], {"distinct_arg": ["R", "Q"]}
    )
    _ignored(api, found, "function")
    return found


RELATIONS: Mapping[str, Callable[[Sequence[Param]], Translation]] = {
    "APIContainRelation": contain,
    "ConsistencyRelation": consistency,
    "ConsistentInputOutputRelation": input_output,
    "ConsistentOutputRelation": output,
    "DistinctArgumentRelation": distinct,
    "FunctionCoverRelation": cover,
    "FunctionLeadRelation": lead,
    "ThresholdRelation": threshold,
}


def _chain(params: Sequence[Param], name: str, group: str, waits: int) -> Translation:
    """A list of functions is as many invariants as it has neighbours; `waits` is whose calls are looked at."""
    if len(params) < 2:
        raise Unsupported("it needs two functions")
    functions = [_text(param, "api_full_name") for param in params]
    found = Translation(f"orderlab_{name}", [], {group: ["Q", "R"]}, conditional=f"orderlab_{name}_if")
    for pair in pairwise(functions):
        found.arguments.append(_values({"First": pair[0], "Then": pair[1]}))
        found.ordered.append(pair[waits])
    for param in params:
        _ignored(param, found, "function")
    return found


def _of_call(template: str, named: Mapping[str, str], api: Param) -> Translation:
    found = Translation(template, [_values(named)], {"pre_event": ["R"]})
    _ignored(api, found, "function")
    return found


def _demand(function: str, asked: Mapping[str, Any], found: Translation) -> str:
    """The name of a demand for these arguments, the same in every file; its facts go into `found`."""
    name = _name(asked)
    for parameter, value in asked.items():
        for kind, content in value.items() if isinstance(value, Mapping) else ():
            for key, text in argument_pieces(alias(kind), content):
                found.facts.append(_fact("orderlab_wanted", name, function, parameter, alias(key), text))
    found.facts += _positions(function)
    return name


def _name(asked: Mapping[str, Any]) -> str:
    """The arguments in a few words, and a digest that tells apart what the words do not."""
    digest = hashlib.blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=4).hexdigest()
    words = []
    for parameter, value in sorted(asked.items()):
        kind, content = next(iter(value.items())) if isinstance(value, Mapping) and value else ("", value)
        words.append(f"{parameter}: {kind.rpartition('.')[2] if isinstance(content, dict) else plain(content)}")
    return f"({textwrap.shorten(', '.join(words), _LONGEST_NAME, placeholder=' ...')}) {digest}"


def _positions(function: str) -> list[Define]:
    return [_fact("orderlab_parameter", function, str(index), name) for index, name in enumerate(parameters(function))]


def _fact(predicate: str, *texts: str) -> Define:
    return Define(Atom(predicate, tuple(Value(text) for text in texts)))


def _path(param: Param) -> tuple[str, str]:
    """Which tensor, and the path inside its record."""
    path = param.get("additional_path")
    if not isinstance(param.get("index"), int) or not path:
        raise Unsupported("it does not say which property of which tensor")
    return str(param["index"]), alias(".".join(str(word) for word in path))


def _exactly(params: Sequence[Param], *kinds: str | None) -> Sequence[Param]:
    found = [param.get("param_type") for param in params]
    if len(params) != len(kinds) or any(want not in (None, kind) for want, kind in zip(kinds, found, strict=True)):
        raise Unsupported(f"parameters of these kinds are not known here: {', '.join(map(str, found))}")
    return params


def _ignored(param: Param, found: Translation, what: str) -> None:
    """Say what the original writes down of a function and never compares."""
    for key in ("exception", "arguments"):
        if param.get(key):
            found.notes.append(f"the {key} of the {what} are not looked at, as in the original")


def _text(param: Param, key: str) -> str:
    value = param.get(key)
    if not isinstance(value, str):
        raise Unsupported(f"a parameter lacks '{key}'")
    return value


def _values(named: Mapping[str, str]) -> Arguments:
    return tuple((name, Value(text)) for name, text in named.items())
