"""Operations that are C functions, seen by whoever asks for them."""

from collections import Counter
from pathlib import Path

from tests.collect.running import collect, rows

SCRIPT = """
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(2):
    optimizer.zero_grad()
    x, y = batch()
    x = torch.cat([x[:4], x[4:] @ torch.eye(4)])
    loss = F.cross_entropy(torch.einsum("ij->ij", model(x)), y)
    loss.backward()
    optimizer.step()
    loss.item()
"""


def test_what_is_asked_for_is_recorded_once_with_what_it_gets_and_returns(tmp_path: Path) -> None:
    options = [
        "--api",
        "torch.Tensor.mat*",
        "--api",
        "torch.cat",
        "--api",
        "torch.einsum",
        "--api",
        "torch.Tensor.item",
    ]
    facts = collect(tmp_path, SCRIPT, options=options)
    counted = Counter(row["api"] for row in rows(facts, "call"))
    for api in ("torch.Tensor.matmul", "torch.cat", "torch.einsum", "torch.Tensor.item"):
        assert counted[api] == 2, api
    assert counted["torch.nn.functional.relu"] == counted["torch.nn.functional.cross_entropy"] == 2
    assert counted["torch.Tensor.add"] == 0
    (joined, _) = rows(facts, "call", api="torch.cat")
    assert joined["site"] == "train.py:30"
    given = {row["name"]: row["shape"] for row in rows(facts, "arg", call=joined["id"])}
    assert (given["tensors.0"], given["tensors.1"]) == ("[4, 4]", "[12, 4]")
    assert rows(facts, "result", call=joined["id"])[0]["shape"] == "[16, 4]"
