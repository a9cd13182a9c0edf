#!/usr/bin/env bash
# Runs the passes for a GPU on this machine's CPU and holds them against their formulas; see `on_cpu.cpp`.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
build="$(mktemp -d)"
trap 'rm -r "$build"' EXIT
# Memory of a block that is sized at its launch is a variable of the program here.
cat "$here"/../src/cuda/{passes,losses}.cu | sed 's/extern __shared__/extern/' >"$build/passes.cpp"
"${CXX:-c++}" -std=c++17 -O1 -Wall -Wno-unused-function -Wno-unknown-pragmas -I"$build" -o "$build/on_cpu" "$here/on_cpu.cpp"
"$build/on_cpu"
