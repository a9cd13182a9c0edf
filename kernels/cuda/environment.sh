# Source this before `cargo build --features cuda` on a machine prepared by `prepare.sh`. A machine with a CUDA toolkit of
# its own does not need it. RETORT_CUDA is where the toolkit lies; CUDA_COMPUTE_CAP is the GPU to build for (90 is Hopper,
# 80 Ampere), whatever GPU is here.
export RETORT_CUDA="${RETORT_CUDA:-$HOME/.cache/retort-cuda}"
CUDA_HOME="$(echo "$RETORT_CUDA"/venv/lib/python3*/site-packages/nvidia/cu13)"
export CUDA_HOME CUDA_PATH="$CUDA_HOME" NVCC="$CUDA_HOME/bin/nvcc" PATH="$CUDA_HOME/bin:$PATH"
export CUDA_COMPUTE_CAP="${CUDA_COMPUTE_CAP:-90}" CUDARC_CUDA_VERSION=13000 CUDAFORGE_THREADS="${CUDAFORGE_THREADS:-2}"
