#!/usr/bin/env bash
# Every benchmark on a machine with an NVIDIA GPU, with the profiles gpu and tensorrt, for the network with constructed
# weights and for the demo's. The result files go to benchmarks/results/<profile>.
#
#   benchmarks/gpu.sh              # needs Linux, Python 3.10-3.12 and the NVIDIA driver; the rest comes from PyPI
#   PROFILES=cpu QUICK=1 OUTPUT=out/dry-run benchmarks/gpu.sh    # dry run without a GPU
set -euo pipefail
cd "$(dirname "$0")/.."

read -ra profiles <<< "${PROFILES:-gpu tensorrt}"
output=${OUTPUT:-benchmarks/results}
quick=()
if [[ -n ${QUICK:-} ]]; then quick=(--quick); fi
python=.venv/bin/python

make install-bench
if [[ " ${profiles[*]} " != " cpu " ]]; then
  nvidia-smi --query-gpu=name,driver_version --format=csv || { echo "error: no NVIDIA GPU here" >&2; exit 1; }
  # The CPU and the GPU package install the same module, so the CPU package is removed first.
  "$python" -m pip uninstall --quiet --yes onnxruntime
  "$python" -m pip install --quiet "onnxruntime-gpu[cuda,cudnn]" tensorrt-cu12
  site=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  libraries=$(find "$site"/nvidia "$site"/tensorrt_libs -type d \( -name lib -o -name tensorrt_libs \) | paste -sd:)
  export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  mkdir -p /var/cache/tensorrt
  restore() { "$python" -m pip uninstall --quiet --yes onnxruntime-gpu; rm -f .venv/.base .venv/.test .venv/.bench; make install-test; }
  trap restore EXIT
fi

for profile in "${profiles[@]}"; do
  "$python" -m benchmarks all --profile "$profile" --output "$output/$profile" "${quick[@]}"
  "$python" -m benchmarks compare --pose weights/cigpose-*.onnx --detector weights/yolox-*.onnx \
    --contenders "$profile:1" "$profile:16" "$profile:64" --output "$output/$profile/compare-demo.json" \
    ${quick:+--rounds 1 --requests 8 --service-callers 4}
done
