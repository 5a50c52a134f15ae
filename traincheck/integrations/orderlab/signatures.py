"""Parameter names of functions, read from the sources that are installed here; nothing is imported or run."""

import ast
import sys
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

# What invariants ask for and sources do not show: functions made at run time, and packages that may not be there.
_KNOWN = {
    "transformers.modeling_flash_attention_utils._flash_attention_forward": (
        "query_states", "key_states", "value_states", "attention_mask", "query_length", "is_causal", "dropout",
        "position_ids", "softmax_scale", "sliding_window", "use_top_left_mask", "softcap", "deterministic",
    ),
}  # fmt: skip


@cache
def parameters(function: str) -> tuple[str, ...]:
    """The positional parameters of a function or method by qualified name, `self` included; () when not known."""
    if function in _KNOWN:
        return _KNOWN[function]
    module, names = _module(function.split("."))
    if module is None or not names:
        return ()
    try:
        body: list[ast.stmt] = _parsed(module).body
    except (OSError, SyntaxError, ValueError):
        return ()
    for name in names[:-1]:
        owner = next((item for item in body if isinstance(item, ast.ClassDef) and item.name == name), None)
        if owner is None:
            return ()
        body = owner.body
    for item in body:
        if isinstance(item, ast.FunctionDef) and item.name == names[-1]:
            return tuple(argument.arg for argument in (*item.args.posonlyargs, *item.args.args))
    return ()


def _module(words: list[str]) -> tuple[Path | None, list[str]]:
    """The source file that the first words name, and the words that are left."""
    spec = PathFinder.find_spec(words[0], sys.path)
    if spec is None or spec.origin is None:
        return None, words
    origin = Path(spec.origin)
    if origin.name != "__init__.py":
        return (origin if origin.suffix == ".py" else None), words[1:]
    folder, left = origin.parent, words[1:]
    while left and (folder / left[0] / "__init__.py").is_file():
        folder, left = folder / left[0], left[1:]
    if left and (folder / f"{left[0]}.py").is_file():
        return folder / f"{left[0]}.py", left[1:]
    return folder / "__init__.py", left


@cache
def _parsed(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"))
