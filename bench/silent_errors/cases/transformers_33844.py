"""Transformers 33844: attention dropout stays active in evaluation.

Root cause: the attention function (FlashAttention2 there, scaled_dot_product_attention here) is handed the
configured dropout without asking whether the module is training.
Source: https://github.com/huggingface/transformers/pull/33844. Fidelity: same mechanism.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    asks = True

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.heads = heads
        self.dropout = dropout

    def forward(self, x):
        batch, length, dim = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training or not self.asks else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, dim))


class Model(nn.Module):
    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, dim)
        self.norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, 2, dropout)
        self.head = nn.Linear(dim, 20)

    def forward(self, tokens):
        x = self.embed(tokens)
        return self.head(x + self.attention(self.norm(x)))


def loss_of(model):
    tokens = torch.randint(20, (8, 1)) + torch.arange(8)
    return F.cross_entropy(model(tokens[:, :-1] % 20).flatten(0, 1), tokens[:, 1:].flatten() % 20)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)

    model = Model(args.dim, args.dropout)
    Attention.asks = not args.fault
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for step in range(args.steps):
        model.train()
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        if step % 4 == 3:
            model.eval()
            with torch.no_grad():
                print(f"step {step} loss {loss.item():.4f} validation {loss_of(model).item():.4f}")


if __name__ == "__main__":
    main()
