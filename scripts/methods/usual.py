# SPDX-License-Identifier: MIT
"""What a table is made from when nothing is named: the captures of scripts/make-captures.py, made where they are missing."""
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def captures(vattn):
    """Paths of all of them, layer by layer of text by text; ends the program where they cannot be made."""
    command = [sys.executable, ROOT / "scripts/make-captures.py", "--vattn", vattn]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)
    return done.stdout.split()


def one_layer(paths):
    """One layer of every text, and not always the same: the first of the first text, the second of the second ..."""
    texts = {}
    for path in paths:
        texts.setdefault(path.rpartition("-layer")[0], []).append(path)
    return [layers[i % len(layers)] for i, layers in enumerate(texts.values())]


def word_of(command):
    """What a command prints, or nothing."""
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def version_of(vattn):
    """Of the command, and of what is checked out."""
    commit = word_of(["git", "-C", ROOT, "describe", "--always", "--dirty", "--exclude", "*"])
    return f"{word_of([vattn, '--version'])} ({commit})"
