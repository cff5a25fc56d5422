# SPDX-License-Identifier: MIT
"""Runs of `vattn attend`, judged against the truth and remembered, so that an interrupted table goes on where it stopped."""
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from .memory import Progress, digest


@dataclass
class Reading:
    """What one setting did on one capture: mean shares of what was read, and all errors, [steps][draws][heads]."""
    rows: float
    bytes: float
    errors: np.ndarray


class Laboratory:
    def __init__(self, vattn, via, captures, draws, threads, memory):
        """via: words before every command, for instance those of a lock on the machine."""
        self.vattn, self.via, self.captures, self.draws = vattn, via, captures, draws
        self.memory = memory
        self.pool = ThreadPoolExecutor(threads)
        self.work = tempfile.TemporaryDirectory(prefix="work-", dir=memory.folder)
        self.single = {}
        self.lock = threading.Lock()
        self.build = digest(Path(vattn))
        self.progress = Progress("methods")

    def attend(self, path, flags, step, seed, draws):
        """One run of the command: the tensors that it wrote."""
        out = Path(self.work.name) / f"{threading.get_ident()}.safetensors"
        command = [*self.via, self.vattn, "attend", path, "-o", out, "--step", step, "--seed", seed, "--draws", draws, "--threads", 1,
                   *flags]
        done = subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode > 1:
            raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
        return load_file(out)

    def reading(self, capture, setting):
        """The whole measurement of one setting on one capture."""
        flags, draws = setting.flags(capture.n[-1]), self.draws if setting.random else 1
        first = int(setting.indexed)  # a random index is made with another seed for every step

        def make():
            rows, volume, errors = [], [], []
            for i, step in enumerate(capture.steps):
                true = capture.truth(step)
                got = self.attend(capture.path, flags, step, first * i, draws)
                error = np.linalg.norm(got["out"] - true, axis=2) / np.linalg.norm(true, axis=1)
                errors.append(error.astype(np.float32))
                rows.append(got["rows_kv"].mean() / capture.n[step])
                volume.append(got["bytes"].mean() / capture.bytes_visible(step))
            return Reading(float(np.mean(rows)), float(np.mean(volume)), np.stack(errors))
        return self.memory.remembered(f"{self.build} {digest(capture.path)} {flags} seeds {first} {draws}", make)

    def head_share(self, capture, setting):
        """The share of the rows that a head uses, in the middle step: measured where no head shares a KV head."""
        flags, step = setting.flags(capture.n[-1]), capture.steps[len(capture.steps) // 2]

        def make():
            path = capture.path
            if not setting.shares_rows:
                with self.lock:
                    if capture.name not in self.single:
                        self.single[capture.name] = capture.write_single_heads(self.work.name)
                path = self.single[capture.name]
            got = self.attend(path, flags, step, 0, 2 if setting.random else 1)
            return float(got["rows_kv"].mean() / capture.n[step])
        return self.memory.remembered(f"{self.build} {digest(capture.path)} {flags} head {setting.shares_rows}", make)

    def readings(self, setting):
        """On every capture."""
        made = list(self.pool.map(lambda c: self.reading(c, setting), self.captures))
        self.progress.add(str(setting))
        return made

    def head_shares(self, setting):
        """On every capture."""
        return list(self.pool.map(lambda c: self.head_share(c, setting), self.captures))

    def density(self, setting):
        """Mean over captures of the share that a head uses, for searches."""
        made = float(np.mean(self.head_shares(setting)))
        self.progress.add(f"looking for {setting}")
        return made

    def serves(self, method):
        try:
            self.attend(self.captures[0].path, ["--method", method], 0, 0, 1)
        except RuntimeError:
            return False
        return True

    def close(self):
        self.pool.shutdown(cancel_futures=True)
        self.memory.close()
        self.work.cleanup()
