"""Hugging Face Trainer, Accelerate and Lightning: steps counted right, nothing doubled, their laws held."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from click.testing import CliRunner

from tests.collect.running import collect, rows
from traincheck.cli import cli
from traincheck.facts import Facts

TRAINER = """
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 16
    def __getitem__(self, index):
        words = torch.arange(index, index + 6) % 20
        return {"input_ids": words, "attention_mask": torch.ones_like(words), "labels": words.sum() % 2}

config = BertConfig(
    vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
    max_position_embeddings=8,
)
arguments = TrainingArguments(
    "out", per_device_train_batch_size=4, gradient_accumulation_steps=2, max_steps=3, save_strategy="no", use_cpu=True,
    report_to=[], disable_tqdm=True, learning_rate=0.01, lr_scheduler_type="constant",
)
trainer = Trainer(BertForSequenceClassification(config), arguments, train_dataset=Data(), eval_dataset=Data())
trainer.train()
trainer.evaluate()
trainer.save_model("saved")
"""

ACCELERATE = """
from accelerate import Accelerator
from torch.utils.data import DataLoader, TensorDataset

accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
model = Net()
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
loader = DataLoader(TensorDataset(torch.randn(16, 4), torch.randint(0, 2, (16,))), 4)
model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)
for _ in range(2):
    for x, y in loader:
        with accelerator.accumulate(model):
            accelerator.backward(F.cross_entropy(model(x), y))
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
"""

LIGHTNING = """
import logging
import warnings
warnings.simplefilter("ignore")
logging.disable()
import lightning
from torch.utils.data import DataLoader, TensorDataset

class Lit(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Net()
    def training_step(self, batch, index):
        x, y = batch
        return F.cross_entropy(self.net(x), y)
    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

loader = DataLoader(TensorDataset(torch.randn(12, 4), torch.randint(0, 2, (12,))), 4)
trainer = lightning.Trainer(
    max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False, gradient_clip_val=1.0,
)
trainer.fit(Lit(), loader)
"""


def by_step(facts: Facts, api: str) -> list[int]:
    """How often an API was called in each step that it was called in."""
    return list(Counter(sorted(row["step"] for row in rows(facts, "call", api=api) if row["stage"] != "init")).values())


def trained(facts: Facts, parameter: str, step_api: str) -> list[int]:
    """In which steps the optimizer changed a parameter, one entry a change."""
    (variable,) = [row["id"] for row in rows(facts, "variable", name=parameter, kind="parameter")]
    steps = {row["id"] for row in rows(facts, "call", api=step_api)}
    updates = rows(facts, "update", variable=variable, attr="data")
    return [row["step"] for row in updates if row["call"] in steps]


def metrics(facts: Facts) -> Mapping[str, int]:
    return Counter(row["name"] for row in rows(facts, "metric"))


def keeps_the_laws_of_torch(folder: Path) -> None:
    done = CliRunner().invoke(cli, ["check", str(folder / "trace"), "--rules", "torch", "--format", "concise"])
    assert done.exit_code == 0, done.output


def test_a_hugging_face_trainer(tmp_path: Path) -> None:
    facts = collect(tmp_path, TRAINER)
    adamw = "torch.optim.adamw.AdamW.step"
    assert by_step(facts, adamw) == [1, 1, 1]
    assert by_step(facts, "torch.Tensor.backward") == [2, 2, 2]
    assert by_step(facts, "transformers.trainer.Trainer.training_step") == [2, 2, 2]
    assert by_step(facts, "accelerate.accelerator.Accelerator.backward") == [2, 2, 2]
    assert by_step(facts, "torch.nn.utils.clip_grad_norm_") == [1, 1, 1]
    assert len(rows(facts, "step")) == 4
    assert trained(facts, "classifier.weight", adamw) == [0, 1, 2]
    assert metrics(facts) == {"loss": 6, "lr.0": 3, "lr.1": 3}  # weights that decay and weights that do not
    parameters = {row["id"] for row in rows(facts, "variable", kind="parameter")}
    assert Counter(row["variable"] for row in rows(facts, "holds")) == dict.fromkeys(parameters, 1)
    (evaluation,) = rows(facts, "call", api="transformers.trainer.Trainer.evaluate")
    assert evaluation["step"] == 3
    (step, *_) = rows(facts, "call", api="transformers.trainer.Trainer.training_step", step=1)
    apis = {row["id"]: row["api"] for row in rows(facts, "call")}
    inside = {apis.get(row["inner"]) for row in rows(facts, "contains", outer=step["id"])}
    assert {"transformers.trainer.Trainer.compute_loss", "torch.Tensor.backward"} <= inside
    assert len(rows(facts, "call", api="transformers.trainer.Trainer.save_model")) == 1
    keeps_the_laws_of_torch(tmp_path)


def test_an_accelerate_loop(tmp_path: Path) -> None:
    facts = collect(tmp_path, ACCELERATE)
    adamw = "torch.optim.adamw.AdamW.step"
    assert by_step(facts, adamw) == [1, 1, 1, 1]  # the wrapper's steps that only accumulate are none
    assert by_step(facts, "torch.optim.lr_scheduler.StepLR.step") == [1, 1, 1, 1]
    assert by_step(facts, "torch.optim.adamw.AdamW.zero_grad") == [1, 1, 1, 1]
    assert by_step(facts, "accelerate.accelerator.Accelerator.backward") == [2, 2, 2, 2]
    assert trained(facts, "head.weight", adamw) == [0, 1, 2, 3]
    assert metrics(facts) == {"loss": 8, "lr.0": 4}
    assert {row["type"] for row in rows(facts, "object") if ".optim." in row["type"]} == {
        "torch.optim.adamw.AdamW", "torch.optim.lr_scheduler.StepLR"
    }  # fmt: skip
    keeps_the_laws_of_torch(tmp_path)


def test_a_lightning_trainer(tmp_path: Path) -> None:
    facts = collect(tmp_path, LIGHTNING)
    sgd = "torch.optim.sgd.SGD.step"
    for api in (sgd, "train.Lit.training_step", "torch.Tensor.backward", "torch.optim.lr_scheduler.StepLR.step"):
        assert by_step(facts, api) == [1, 1, 1], api
    assert trained(facts, "net.head.weight", sgd) == [0, 1, 2]
    assert metrics(facts) == {"loss": 3, "lr.0": 3}
    assert {row["type"] for row in rows(facts, "object") if row["type"].endswith("SGD")} == {"torch.optim.sgd.SGD"}
    keeps_the_laws_of_torch(tmp_path)
