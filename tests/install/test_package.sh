#!/bin/bash
# Installs into an empty folder, moves the tree, and builds a program with pkg-config and with find_package.
set -euo pipefail

build=${VATTN_BUILD:-build/release}
cc=${CC:-cc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The prefix of the configured build does not matter: the tree is found relative to itself.
cmake --install "$build" --prefix "$work/first" >"$work/install.log"
mv "$work/first" "$work/moved"
libdir=$(dirname "$(find "$work/moved" -name libvattn.so -print -quit)")
export PKG_CONFIG_PATH=$libdir/pkgconfig LD_LIBRARY_PATH=$libdir

echo "pkg-config, shared and static"
source=tests/install/consumer/consumer.c
# shellcheck disable=SC2046 # the output is a list of flags
"$cc" -std=c11 -Wall -Wextra -Werror "$source" -o "$work/shared" $(pkg-config --cflags --libs vattn) -lm
"$work/shared"
static_flags=$(pkg-config --static --libs vattn | sed "s|-lvattn|$libdir/libvattn.a|")
# shellcheck disable=SC2046,SC2086
"$cc" -std=c11 "$source" -o "$work/static" $(pkg-config --cflags vattn) $static_flags
env -u LD_LIBRARY_PATH "$work/static"

echo "find_package"
cmake -S tests/install/consumer -B "$work/consumer" -DCMAKE_PREFIX_PATH="$work/moved" >"$work/configure.log"
cmake --build "$work/consumer" >"$work/build.log"
"$work/consumer/use_vattn"
"$work/consumer/use_vattn_static"

if [ -x "$work/moved/bin/vattn" ]; then
    echo "the installed command finds the installed plug-in, in the moved tree"
    "$work/moved/bin/vattn" run --method exact -- env | grep "^GGML_BACKEND_PATH=$work/moved/lib.*/libggml-vattn.so$"
fi

echo "no installed text file names the place it was built in"
if grep -rIl "$PWD" "$work/moved"; then
    exit 1
fi

echo "one version everywhere"
version=$(pkg-config --modversion vattn)
"$work/shared" | grep -q "libvattn $version:"
