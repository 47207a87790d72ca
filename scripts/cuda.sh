#!/usr/bin/env bash
# Runs a command, such as cargo build, with CUDA's compiler and libraries at hand: the system's where there are some (nvcc), else those that PyPI has.
# A build needs no GPU. CUDA_COMPUTE_CAP says for which it is, where there is none to ask: 90 for Hopper (H100, H200; the default), 80 for the A100,
# 89 for the L4 and L40.
set -euo pipefail
cd "$(dirname "$0")/.."

export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-90}
if ! command -v nvcc >/dev/null 2>&1; then
  cuda=${CARGO_TARGET_DIR:-target}/cuda
  if [ ! -e "$cuda/complete" ]; then
    if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
      echo "please install CUDA 13 (nvcc), or python3 with venv, by which it is fetched" >&2
      exit 1
    fi
    echo "fetching CUDA's compiler and libraries, some 700 MB" >&2
    python3 -m venv "$cuda"
    # All of one version: others refuse each other's code.
    "$cuda/bin/pip" install --quiet 'nvidia-cuda-nvcc==13.0.*' 'nvidia-cuda-crt==13.0.*' 'nvidia-cuda-runtime==13.0.*' \
      'nvidia-cuda-cccl==13.0.*' 'nvidia-nvvm==13.0.*' 'nvidia-cublas==13.0.*' 'nvidia-curand==10.4.0.*' 'nvidia-cuda-nvrtc==13.0.*'
    home=$(cd "$cuda"/lib/python3*/site-packages/nvidia/cu13 && pwd)
    # Names that a linker looks for, which the packages leave out.
    for library in cublas cublasLt curand nvrtc cudart; do
      found=("$home/lib/lib$library".so.[0-9]*)
      ln -sf "$(basename "${found[0]}")" "$home/lib/lib$library.so"
    done
    # The driver comes with the GPU; the linker needs its names alone.
    mkdir -p "$home/lib/stubs"
    grep -oE '\bcu[A-Z][A-Za-z0-9_]*' "$home/include/cuda.h" | sort -u | sed 's/.*/void &(void) {}/' |
      cc -shared -fPIC -w -x c - -Wl,-soname,libcuda.so.1 -o "$home/lib/stubs/libcuda.so"
    echo "$home" >"$cuda/complete"
  fi
  CUDA_HOME=$(<"$cuda/complete")
  export CUDA_HOME PATH="$CUDA_HOME/bin:$PATH"
  echo "what is built needs NVIDIA's driver where it runs, and cublas, curand and cudart of CUDA 13: LD_LIBRARY_PATH=$CUDA_HOME/lib has them" >&2
fi
exec "$@"
