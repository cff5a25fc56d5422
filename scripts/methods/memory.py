# SPDX-License-Identifier: MIT
"""What the long tables share: measurements that are remembered, so that an interrupted table goes on, and a line of progress."""
import hashlib
import pickle
import sqlite3
import sys
import threading
import time
from pathlib import Path

DIGESTS = {}


def digest(path):
    """Of a file's contents: the program or capture that a measurement belongs to."""
    if path not in DIGESTS:
        DIGESTS[path] = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    return DIGESTS[path]


class Missing(Exception):
    """A measurement that was never made, where none may be made."""


class Memory:
    """Measurements by name, in a file; a name says all that the measurement depends on. Safe to use from several threads."""

    def __init__(self, folder, closed=False):
        """closed: nothing new is measured, Missing instead."""
        self.folder, self.closed = folder, closed
        folder.mkdir(parents=True, exist_ok=True)
        self.lock = threading.Lock()
        self.file = sqlite3.connect(folder / "measured.sqlite", check_same_thread=False)
        self.file.execute("create table if not exists readings (name text primary key, reading blob)")

    def find(self, name):
        """The measurement, or None."""
        with self.lock:
            found = self.file.execute("select reading from readings where name = ?", (name,)).fetchone()
        return pickle.loads(found[0]) if found else None

    def remembered(self, name, make):
        """The measurement of that name, made now if it was never made."""
        found = self.find(name)
        if found is None and self.closed:
            raise Missing(name)
        if found is None:
            found = make()
            with self.lock, self.file:
                self.file.execute("insert or replace into readings values (?, ?)", (name, pickle.dumps(found)))
        return found

    def close(self):
        self.file.close()


class Progress:
    """done/total and the minutes left, on stderr. The total may be an estimate that grows while the work goes on."""

    def __init__(self, title, total=1):
        self.title, self.done, self.total = title, 0, total
        self.started, self.shown, self.terminal = time.monotonic(), 0.0, sys.stderr.isatty()

    def add(self, what):
        self.done += 1
        now = time.monotonic()
        if now - self.shown < (0.3 if self.terminal else 20) and self.done < self.total:
            return
        self.shown = now
        share = min(1.0, self.done / max(1, self.total))
        left = (now - self.started) / self.done * max(0, self.total - self.done) / 60
        bar = "#" * round(20 * share) + "." * (20 - round(20 * share))
        print(f"{chr(13) if self.terminal else ''}{self.title}: [{bar}] {self.done}/{self.total}, {left:.1f} min left, {what:<50.50}",
              end="" if self.terminal else "\n", file=sys.stderr, flush=True)

    def end(self):
        print(f"{chr(10) if self.terminal else ''}{self.title}: {self.done} settings in "
              f"{(time.monotonic() - self.started) / 60:.1f} min", file=sys.stderr)
