#!/bin/bash
# The public header compiles alone, as C11 and as C++17, without a warning.
set -euo pipefail

flags=(-Iinclude -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Werror -fsyntax-only)
for header in include/*.h; do
    printf '#include "%s"\n' "$(basename "$header")" | "${CC:-cc}" -x c -std=c11 "${flags[@]}" -
    printf '#include "%s"\n' "$(basename "$header")" | "${CXX:-c++}" -x c++ -std=c++17 "${flags[@]}" -
    echo "$header: fine"
done
