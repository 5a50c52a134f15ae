"""`--budget`: what recording costs stays below its share of the training, and training is none the wiser."""

import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.collect.running import collect_command, environment, rows, write_script
from traincheck.collect.calls.sampling import Governor
from traincheck.facts import load_facts

STEPS = 4000


@given(
    plain=st.floats(0.001, 1.0),
    extra=st.floats(0.0, 5.0),
    writing=st.floats(0.0, 1.0),
    budget=st.floats(0.005, 0.5),
)
def test_recording_takes_less_than_its_share(plain: float, extra: float, writing: float, budget: float) -> None:
    clock = 0.0
    governor = Governor(budget, lambda: clock)
    spent, recorded = 0.0, 0
    for step in range(STEPS):
        full = step % governor.interval == 0
        clock += plain * (1 + extra * full)
        if full:
            governor.wrote(plain * writing)
            spent += plain * (extra + writing)
            recorded += 1
        governor.ended(full)
    learning = 10 * plain * (extra + writing)  # until it knows what both kinds of steps take
    assert spent <= budget * STEPS * plain + learning
    assert recorded > 3


LOOP = """
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(120):
    optimizer.zero_grad()
    loss_of(model).backward()
    optimizer.step()
print(sum(float(p.double().sum()) for p in model.parameters()))
"""


def test_some_steps_are_recorded_and_weights_are_the_same(tmp_path: Path) -> None:
    script = write_script(tmp_path, LOOP)
    outputs = [
        subprocess.run(command, env=environment(), cwd=tmp_path, check=True, capture_output=True).stdout
        for command in ([sys.executable, str(script)], collect_command(tmp_path, script, options=("--budget", "2%")))
    ]
    assert outputs[0] == outputs[1]
    facts = load_facts(tmp_path / "trace")
    windows = [(row["first_step"], row["last_step"]) for row in rows(facts, "window")]
    recorded = [step for first, last in windows for step in range(first, last + 1)]
    assert 0 in recorded
    assert 1 < len(recorded) < 60
    forwards = {row["step"] for row in rows(facts, "call", api="train.Net.forward")}
    assert forwards <= set(recorded)
    assert len(rows(facts, "step")) == 120
