#!/bin/bash
# Builds llama.cpp, the host program that the plug-in is loaded into, from the source that fetch-assets.py unpacked.
#
#   scripts/build-host.sh [lib|tools|server]
#
#   lib     libllama and the CPU backend: all that the demo links (default)
#   tools   also llama-bench, -completion, -perplexity, -tokenize and the host's own backend tests
#   server  also llama-server
#
# Source and build live in the cache (.cache, or VATTN_CACHE): host/llama.cpp and host/build. A finished level is not built again.
#
# The CPU backend is built for the instruction sets of this machine, as the host's own variants would be, but one instead of a
# dozen: all variants cost ten times the compile time and the stock program is not faster with them.
# GGML_BACKEND_DL makes the host load backends at run time; without it llama-completion never looks at GGML_BACKEND_PATH.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

level=${1:-lib}
host=${VATTN_CACHE:-.cache}/host
source_dir=$host/llama.cpp
build_dir=$host/build
jobs=${JOBS:-$(nproc)}

targets=(llama ggml-cpu)
case $level in
    lib) ;;
    server) targets+=(llama-server) ;&
    tools)
        targets+=(llama-bench llama-completion llama-perplexity llama-tokenize test-backend-ops test-llama-archs)
        ;;
    *)
        echo "build-host: unknown level '$level'; use lib, tools or server" >&2
        exit 2
        ;;
esac

[ -f "$source_dir/CMakeLists.txt" ] || {
    echo "build-host: no source in $source_dir; run scripts/fetch-assets.py host first" >&2
    exit 2
}

# One line per instruction set: the kernel's names for it in /proc/cpuinfo (all needed), and ggml's option.
# AMX is left out: gcc 12, the compiler of Debian 12, drops half of the tile configuration that ggml loads (its intrinsic says that it
# reads 8 bytes), and the host dies of an illegal instruction. Only prompts would be faster with it.
cpu_options() {
    local flags feature names name
    flags=" $(grep -m1 '^flags' /proc/cpuinfo | cut -d: -f2) "
    while read -r feature names; do
        for name in $names; do
            case $flags in
                *" $name "*) ;;
                *) continue 2 ;;
            esac
        done
        echo "-DGGML_$feature=ON"
    done <<'TABLE'
SSE42 sse4_2
AVX avx
F16C f16c
FMA fma
BMI2 bmi2
AVX2 avx2
AVX_VNNI avx_vnni
AVX512 avx512f avx512cd avx512vl avx512dq avx512bw
AVX512_VBMI avx512vbmi
AVX512_VNNI avx512_vnni
AVX512_BF16 avx512_bf16
TABLE
}

options=(
    -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DGGML_BACKEND_DL=ON -DGGML_NATIVE=OFF
    -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=ON -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF
    -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DGGML_AMX_TILE=OFF -DGGML_AMX_INT8=OFF
)
case $(uname -m) in
    x86_64) mapfile -t cpu < <(cpu_options) ;;
    *) cpu=(-DGGML_CPU_ALL_VARIANTS=ON) targets=("${targets[@]/ggml-cpu/ggml}") ;; # detection is written for x86 only
esac
options+=("${cpu[@]}")

# The stamp of a level names what it was built with, so a cache that moved to another machine is built anew.
stamp=$build_dir/.built-$level
recipe="${options[*]} ${targets[*]}"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$recipe" ]; then
    echo "build-host: $build_dir ($level) is up to date"
    exit 0
fi

echo "build-host: llama.cpp ($level) for ${cpu[*]//-D/}; a few minutes on two cores"
started=$SECONDS
mkdir -p "$build_dir"
# llama.cpp finds ccache by itself when there is one. -Wno-dev: its warnings are not ours to fix.
if ! cmake -S "$source_dir" -B "$build_dir" -G Ninja -Wno-dev "${options[@]}" >"$build_dir/configure.log" 2>&1; then
    tail -n 30 "$build_dir/configure.log" >&2
    echo "build-host: configuring failed; whole log in $build_dir/configure.log" >&2
    exit 1
fi
# Every fifth step is progress enough; the whole output, warnings of foreign code included, goes to the log.
if ! cmake --build "$build_dir" -j "$jobs" --target "${targets[@]}" 2>&1 | tee "$build_dir/build.log" |
    { grep --line-buffered -E '^\[[0-9]*[05]/|^FAILED|error:' || true; }; then
    tail -n 30 "$build_dir/build.log" >&2
    echo "build-host: building failed; whole log in $build_dir/build.log" >&2
    exit 1
fi
echo "$recipe" >"$stamp"
echo "build-host: done in $((SECONDS - started)) s"
