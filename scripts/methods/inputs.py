# SPDX-License-Identifier: MIT
"""Captures as the table of methods needs them: what is true, and a copy in which every query head has a KV head of its own."""
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

MEASURED_STEPS = 3


class Capture:
    def __init__(self, path):
        self.path = Path(path)
        self.name = self.path.stem
        with safe_open(self.path, "numpy") as file:
            self.metadata = file.metadata()
            self.n = file.get_tensor("n").tolist()
            self.q = file.get_tensor("q")
            k, v = file.get_slice("k"), file.get_slice("v")
            self.kv_heads = k.get_shape()[0]
            self.row_bytes = sum(x.get_shape()[2] * {"F16": 2, "F32": 4}[x.get_dtype()] for x in (k, v))
        self.heads = self.q.shape[1]
        last = len(self.n) - 1
        self.steps = sorted({0, last // 2, last})[:MEASURED_STEPS]
        self.true = {}

    def truth(self, step):
        """Attention in double precision, [heads][v_dim]; computed here so that the library does not judge itself."""
        if step not in self.true:
            with safe_open(self.path, "numpy") as file:
                k = file.get_tensor("k")[:, :self.n[step]]
                v = file.get_tensor("v")[:, :self.n[step]]
            group = self.heads // self.kv_heads
            self.true[step] = np.stack([self.attend(self.q[step, h], k[h // group], v[h // group]) for h in range(self.heads)])
        return self.true[step]

    def bytes_visible(self, step):
        return self.n[step] * self.kv_heads * self.row_bytes

    def attend(self, q, k, v):
        score = float(self.metadata["scale"]) * (k.astype(np.float64) @ q.astype(np.float64))
        weight = np.exp(score - score.max())
        return weight @ v.astype(np.float64) / weight.sum()

    def write_single_heads(self, folder):
        """The same attention with every KV head repeated for each of its query heads: rows read are then those of one head."""
        path = Path(folder) / f"{self.name}.safetensors"
        with safe_open(self.path, "numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        for name in tensors.keys() & {"k", "v", "q_second_moment"}:
            tensors[name] = np.repeat(tensors[name], self.heads // self.kv_heads, axis=0)
        save_file(tensors, path, self.metadata)
        return path
