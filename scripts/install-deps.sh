#!/bin/bash
# Installs what is missing to build and test libvattn on Debian 12 (or a near relative), and says what it does.
#
#   scripts/install-deps.sh            install
#   scripts/install-deps.sh --list     only say what is missing; exit 1 if anything is
#
# Nothing is removed or upgraded. Runs as root, or through sudo. The Python environment goes to .venv inside the repository;
# it serves the tests (an independent judge) and the downloads, the library itself needs no Python.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(
    # compilers and build; clang and libomp-dev for the second compiler of the checks
    cmake ninja-build make pkg-config gcc g++ libc6-dev clang libomp-dev
    # the library: small dense eigenproblems (serial, because llama.cpp owns the threads)
    liblapacke-dev libopenblas-serial-dev
    # tests and tools: unit tests, JSON, the definition of the random numbers, plots
    libcmocka-dev libcjson-dev librandom123-dev gnuplot-nox
    # Python for test judges and downloads
    python3 python3-venv ca-certificates
)
if [ "$(uname -m)" = x86_64 ]; then
    # the Arm tier: a compiler for it, and an emulator that runs its checks
    packages+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)
fi

missing_packages() {
    for package in "${packages[@]}"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
    done
}

venv_is_current() {
    [ -x .venv/bin/python ] && cmp -s scripts/requirements.txt .venv/requirements.installed
}

if command -v dpkg-query >/dev/null; then
    mapfile -t missing < <(missing_packages)
else
    echo "install-deps: not a Debian system, cannot check for: ${packages[*]}" >&2
    missing=()
fi

if [ "${1:-}" = --list ]; then
    [ ${#missing[@]} -eq 0 ] || echo "missing Debian packages: ${missing[*]}"
    venv_is_current || echo "missing or outdated: .venv (scripts/requirements.txt)"
    [ ${#missing[@]} -eq 0 ] && venv_is_current
    exit
fi

if [ ${#missing[@]} -gt 0 ]; then
    echo "install-deps: installing Debian packages: ${missing[*]}"
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || {
            echo "install-deps: run as root, or install sudo; missing: ${missing[*]}" >&2
            exit 2
        }
        as_root=(sudo)
    fi
    apt_install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive
        apt-get install -y -q --no-install-recommends -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
    # A fresh machine has no package lists, and old lists name files that are gone: refresh only when needed.
    if ! "${apt_install[@]}" "${missing[@]}" >/tmp/vattn-apt.$$ 2>&1; then
        "${as_root[@]}" apt-get update -q
        "${apt_install[@]}" "${missing[@]}"
    fi
    rm -f /tmp/vattn-apt.$$
fi

if ! venv_is_current; then
    echo "install-deps: creating .venv with $(grep -v '^#' scripts/requirements.txt | tr '\n' ' ')"
    # Debian's interpreter by its full name: another python3 earlier in PATH may lack the venv module.
    python=/usr/bin/python3
    [ -x "$python" ] || python=python3
    "$python" -m venv --clear .venv
    .venv/bin/pip install -q --disable-pip-version-check -r scripts/requirements.txt
    cp scripts/requirements.txt .venv/requirements.installed
fi
echo "install-deps: everything is present"
