#!/usr/bin/env bash
# A CUDA toolkit for building the feature `cuda` where there is none and no right to install one, not even a GPU: the
# compiler and libraries of CUDA 13 as PyPI has them (3.5 GB), laid out as a toolkit, and a stand-in for the driver library,
# which the linker wants to see and only a machine with a GPU has. Needs python3 and a C compiler. Then:
#
#     . kernels/cuda/environment.sh && cargo build --release --features cuda
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="${RETORT_CUDA:-$HOME/.cache/retort-cuda}"
mkdir -p "$root"
[ -d "$root/venv" ] || python3 -m venv "$root/venv"
"$root/venv/bin/pip" install --quiet --disable-pip-version-check \
    nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 \
    nvidia-cuda-nvrtc==13.0.88 nvidia-cuda-cccl==13.0.85 nvidia-cublas==13.1.0.3 nvidia-curand==10.4.0.35
. "$here/environment.sh"

# Wheels hold `libX.so.13` alone; linkers look for `libX.so`, and some for it in `lib64`.
cd "$CUDA_HOME/lib"
for library in lib*.so.*; do
    name="${library%%.so.*}.so"
    case "$name" in *.alt.so) continue ;; esac
    [ -e "$name" ] || ln -s "$library" "$name"
done
ln -sfn lib "$CUDA_HOME/lib64"

# Every function of the driver that the Rust bindings name, each answering CUDA_ERROR_UNKNOWN.
(cd "$here/../.." && cargo fetch --quiet)
bindings="$(ls "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/cudarc-0.19*/src/driver/sys/mod.rs | tail -n 1)"
grep -oE '\bfn cu[A-Z][A-Za-z0-9_]*' "$bindings" | sort -u | sed -E 's/^fn (.*)/int \1(void) { return 999; }/' >"$root/driver.c"
mkdir -p stubs
"${CC:-cc}" -shared -fPIC -Wl,-soname,libcuda.so.1 -o stubs/libcuda.so "$root/driver.c"
ln -sfn libcuda.so stubs/libcuda.so.1
echo "ready: . $here/environment.sh"
