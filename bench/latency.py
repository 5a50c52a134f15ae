"""How long after the end of the step that shows it a violation is told: `python bench/latency.py FOLDER`.

FOLDER holds scripts that plant a mistake when told `--fault NAME`, and `scenarios.toml`, which names them with the runs
to learn from. For every mistake the script is run under `traincheck run` with what was learned, filled up to `--laws`
invariants. A step ends when the next step's first call is made, on whichever rank makes it last, and the last step when
the last call is made; laws that only the end of the run can break are counted from the last word of its processes,
though the run goes on until the one that started them has ended. Prints one row a mistake.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from traincheck.check.law import laws_of, rules_in
from traincheck.dsl.ground import is_final
from traincheck.dsl.load import load_rules
from traincheck.facts import load_facts

EXE = [str(Path(sys.executable).parent / "traincheck")]
STAGES = [f'if C.stage {compared} "{stage}"' for compared in ("==", "!=") for stage in ("init", "train", "eval")]
POSITIONS = [f'C.position == "{position}"' for position in ("first", "later")]
CONDITIONS = ["", *STAGES, *(f"if {one}" for one in POSITIONS), *(f'if C.stage == "train", {one}' for one in POSITIONS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", type=Path)
    parser.add_argument("--family", action="append")
    parser.add_argument("--fault", action="append")
    parser.add_argument("--laws", type=int, default=500)
    options = parser.parse_args()
    families = tomllib.loads((options.scenarios / "scenarios.toml").read_text())["family"]
    print("| scenario | fault | laws | told | the latest, s after its step | laws of the whole run, s after its end |")
    print("|---|---|---|---|---|---|", flush=True)
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        for family in families:
            if options.family and family["name"] not in options.family:
                continue
            script, work = options.scenarios / family["script"], Path(name) / family["name"]
            work.mkdir()
            laws = learn(script, family["references"], work, options.laws)
            for fault in family["faults"]:
                if not options.fault or fault in options.fault:
                    worst = max(worst, measure(family, fault, script, laws, work))
    print(f"\nthe latest of those that a step shows: {worst:.2f} s")


def learn(script: Path, references: Sequence[Sequence[str]], work: Path, wanted: int) -> list[Path]:
    """What the reference runs teach, and further laws that hold in all of them, `wanted` together."""
    traces = [work / f"reference-{index}" for index in range(len(references))]
    for trace, arguments in zip(traces, references, strict=True):
        call("collect", "-o", trace, script, *arguments)
    learned, further = work / "learned.rules", work / "further.rules"
    call("infer", *traces, "-o", learned)
    count = sum(line.startswith("invariant ") for line in learned.read_text().splitlines())
    further.write_text("\n".join(candidates(traces[0])))
    kept: list[str] = []
    taken = set(identities(learned).values())
    identity = identities(further)
    report = json.loads(call("check", *traces, "-i", further, "--format", "json"))
    wrong = {violation["title"] for violation in report["violations"]}
    idle = {law["title"] for law in report["not_triggered"]}
    for line in further.read_text().splitlines():
        title = line[line.index('"further') + 1 :].split('"')[0]
        if title not in wrong | idle and identity[title] not in taken and len(kept) < wanted - count:
            kept.append(line)
            taken.add(identity[title])
    further.write_text("\n".join(kept))
    return [learned, further]


def identities(file: Path) -> dict[str, str]:
    """The laws of a file by their titles; two that say the same have one identity."""
    checked = load_rules([str(file)])
    return {
        law.invariant.title: law.id
        for laws in laws_of(checked, rules_in(checked, [str(file)])).values()
        for law in laws
    }


def candidates(trace: Path) -> Iterator[str]:
    """Laws about calls that may hold: what calls what, and what each gets and returns."""
    facts = load_facts(trace)
    calls = facts["call"].select(["id", "api"]).to_pandas().set_index("id").api
    inside = facts["contains"].to_pandas()
    inside = inside[inside.inner.isin(calls.index)]
    pairs = zip(inside.outer.map(calls), inside.inner.map(calls), strict=True)
    laws = {f'contains_call(Outer: "{outer}", Inner: "{inner}")' for outer, inner in pairs}
    given = facts["arg"].select(["call", "name", "class", "dtype"]).to_pandas()
    for api, name, kind, dtype in zip(given.call.map(calls), given.name, given["class"], given.dtype, strict=True):
        if isinstance(kind, str):
            laws.add(f'argument_is(Api: "{api}", Argument: "{name}", Setting: "{kind}")')
        if isinstance(dtype, str):
            laws.add(f'result_keeps_dtype(Api: "{api}", Argument: "{name}")')
            laws.add(f'result_keeps_shape(Api: "{api}", Argument: "{name}")')
            laws.add(f'result_dtype(Api: "{api}", Dtype: "{dtype}")')
    for number, (law, condition) in enumerate(itertools.product(sorted(laws), CONDITIONS)):
        yield f'invariant {law} "further law {number}" {condition}'


def measure(family: dict[str, Any], fault: str, script: Path, laws: Sequence[Path], work: Path) -> float:
    """Run one mistake, print when its violations were told, and give back the latest."""
    trace = work / fault
    sources = [part for path in laws for part in ("-i", path)]
    arguments = [*family["references"][0], "--fault", fault]
    command = [*EXE, "run", *sources, "--format", "json", "-o", trace, script, *arguments]
    told: dict[str, float] = {}
    report_file = work / "report.json"
    with report_file.open("w") as output:
        process = subprocess.Popen(list(map(str, command)), stdout=output, stderr=subprocess.PIPE, text=True)
        for line in process.stderr or ():
            if line.endswith("]\n"):
                told[line.rsplit("[", 1)[1][:-2]] = time.time()
        process.wait()
    printed = report_file.read_text()  # behind what the script has printed
    report = json.loads(printed[printed.rindex('{\n "schema_version"') :])
    ends = ends_of_steps(trace)
    last_word = max(file.stat().st_mtime for file in trace.rglob("*.arrow"))
    templates = load_rules([str(path) for path in laws]).templates
    late: dict[str, list[float]] = {"live": [0.0], "end": [0.0]}
    for violation in report["violations"]:
        at, step = told[violation["invariant"]], violation["first"]["step"]
        template = templates.get(violation["template"])
        if template is not None and template.within.kind == "run" and not is_final(template):
            late["end"].append(at - last_word)
        else:
            late["live"].append(at - ends.get(None if step is None else step + 1, ends[None]))
    asked = report["summary"]["checked"] + report["summary"]["not_triggered"]
    cells = (family["name"], fault, asked, len(told), f"{max(late['live']):.2f}", f"{max(late['end']):.2f}")
    print(f"| {' | '.join(map(str, cells))} |", flush=True)
    return max(late["live"])


def ends_of_steps(trace: Path) -> dict[int | None, float]:
    """When each step begins on the rank last to begin it, s since the epoch; under None when the last call is made."""
    calls = load_facts(trace)["call"].select(["process", "step", "time"]).to_pandas()
    calls = calls[calls.step.notna()]
    begun = calls.groupby(["process", "step"]).time.min().groupby("step").max() / 1e9
    found: dict[int | None, float] = {int(step): at for step, at in begun.items()}
    found[None] = calls.time.max() / 1e9
    return found


def call(*arguments: object) -> str:
    """Standard output of the program; a failure of its ends the bench."""
    done = subprocess.run([*EXE, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 3):
        sys.exit(f"{' '.join(map(str, arguments))}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
