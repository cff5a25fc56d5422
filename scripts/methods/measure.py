# SPDX-License-Identifier: MIT
"""Runs of `vattn attend`, judged against the truth and remembered, so that an interrupted table goes on where it stopped."""
import hashlib
import pickle
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


@dataclass
class Reading:
    """What one setting did on one capture: mean shares of what was read, and all errors, [steps and seeds][draws][heads]."""
    rows: float
    bytes: float
    errors: np.ndarray


class Progress:
    """done/total and the minutes left, on stderr; the total is an estimate until the searches are over."""

    def __init__(self):
        self.done, self.total, self.started, self.shown = 0, 1, time.monotonic(), 0.0

    def add(self, what):
        self.done += 1
        now = time.monotonic()
        if now - self.shown < (0.3 if sys.stderr.isatty() else 20) and self.done < self.total:
            return
        self.shown = now
        left = (now - self.started) / self.done * max(0, self.total - self.done) / 60
        print(f"{chr(13) if sys.stderr.isatty() else ''}methods: {self.done}/{self.total}, {left:.1f} min left, {what:<50.50}",
              end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)

    def end(self):
        print(f"{chr(10) if sys.stderr.isatty() else ''}methods: {self.done} settings in "
              f"{(time.monotonic() - self.started) / 60:.1f} min", file=sys.stderr)


class Laboratory:
    def __init__(self, vattn, captures, draws, threads, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.vattn, self.captures, self.draws = vattn, captures, draws
        self.pool = ThreadPoolExecutor(threads)
        self.work = tempfile.TemporaryDirectory(prefix="work-", dir=folder)
        self.single = {}
        self.lock = threading.Lock()
        self.memory = sqlite3.connect(folder / "measured.sqlite", check_same_thread=False)
        self.memory.execute("create table if not exists readings (name text primary key, reading blob)")
        self.build = digest(Path(vattn))
        self.progress = Progress()

    def remembered(self, name, make):
        with self.lock:
            found = self.memory.execute("select reading from readings where name = ?", (name,)).fetchone()
        if found:
            return pickle.loads(found[0])
        made = make()
        with self.lock, self.memory:
            self.memory.execute("insert or replace into readings values (?, ?)", (name, pickle.dumps(made)))
        return made

    def attend(self, path, flags, step, seed, draws):
        """One run of the command: the tensors that it wrote."""
        out = Path(self.work.name) / f"{threading.get_ident()}.safetensors"
        command = [self.vattn, "attend", path, "-o", out, "--step", step, "--seed", seed, "--draws", draws, "--threads", 1, *flags]
        done = subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode > 1:
            raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
        return load_file(out)

    def reading(self, capture, setting):
        """The whole measurement of one setting on one capture."""
        flags, seeds, draws = setting.flags(capture.n[-1]), 2 if setting.indexed else 1, self.draws if setting.random else 1

        def make():
            rows, volume, errors = [], [], []
            for step in capture.steps:
                true = capture.truth(step)
                for seed in range(seeds):
                    got = self.attend(capture.path, flags, step, seed, -(-draws // seeds))
                    error = np.linalg.norm(got["out"] - true, axis=2) / np.linalg.norm(true, axis=1)
                    errors.append(error.astype(np.float32))
                    rows.append(got["rows_kv"].mean() / capture.n[step])
                    volume.append(got["bytes"].mean() / capture.bytes_visible(step))
            return Reading(float(np.mean(rows)), float(np.mean(volume)), np.stack(errors))
        return self.remembered(f"{self.build} {digest(capture.path)} {flags} {seeds} {draws}", make)

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
        return self.remembered(f"{self.build} {digest(capture.path)} {flags} head {setting.shares_rows}", make)

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


DIGESTS = {}


def digest(path):
    if path not in DIGESTS:
        DIGESTS[path] = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    return DIGESTS[path]
