#!/usr/bin/env bash
# The matrix on a machine with a GPU, where neither this workspace nor its packages are installed:
#
#   scripts/bench_on_gpu.sh RESULTS [arguments of glam bench matrix]
#
# Python needs torch, and on PYTHONPATH what requirements/training.txt names beside it. Images are rendered through EGL:
# where the driver's own description of itself is not found, set __EGL_VENDOR_LIBRARY_FILENAMES.
# RESULTS receives matrix.tgz (the records), models.tgz.* (the runs that MODELS names, without checkpoints; join the
# parts with cat) and the log, also when the time is over or the matrix fails. GLAM_COMMIT names the commit where there
# is no checkout to ask. Run again in the same WORK folder, it goes on.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
results="$(mkdir -p "$1" && cd "$1" && pwd)"
shift
work="${WORK:-/tmp/glam_bench}"
cores="$(nproc)"
models="${MODELS:-*/images/*/glam_o-*seed0/* */images/*/mip-slots-*seed0/* */state/stack_two/glam-target20-aux400-seed0/*}"
export PYTHONPATH="$root/src/glam_core:$root/src/glam_sim:$root/src/glam_training${PYTHONPATH:+:$PYTHONPATH}"
export MUJOCO_GL="${MUJOCO_GL:-egl}" PYTHONUNBUFFERED=1 TQDM_MININTERVAL=10
vendor=/usr/local/nvidia/share/glvnd/egl_vendor.d/10_nvidia.json
if [ -z "${__EGL_VENDOR_LIBRARY_FILENAMES:-}" ] && [ -f "$vendor" ]; then
    export __EGL_VENDOR_LIBRARY_FILENAMES="$vendor"
fi

pack() {
    mkdir -p "$work/results"
    tar -C "$work" -czf "$results/matrix.tgz" results
    if [ -d "$work/runs" ]; then
        local pattern
        (cd "$work" && set -f && for pattern in $models; do
            find runs -path "$pattern" \( -name model.pt -o -name '*.json' -o -name '*.npz' \) -print0
        done | tar --null -T - -czf - | split -b 15m -d - "$results/models.tgz.")
    fi
    ls -l "$results"
}
trap pack EXIT

cd "$root"
python3 - <<'CHECK'
import mujoco, torch
from glam_sim.cell import Cell

print("torch", torch.__version__, torch.cuda.get_device_name(0) if torch.cuda.is_available() else "without a GPU")
with Cell("lift", "gen3") as cell:
    image = cell.render("front")
print("mujoco", mujoco.__version__, "renders, mean brightness", round(float(image.mean()), 1))
CHECK
python3 -m glam_core bench matrix --preset gpu --trainers 2 --together 48 --workers "$cores" \
    --out "$work" --results "$work/results" "$@" 2>&1 | tee "$results/matrix.log"
