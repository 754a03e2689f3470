#!/usr/bin/env bash
# Sets the robot up in a fresh clone and says how long it took, how large it is, and that torch is not in it.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
limit_mb=800

clone="$(mktemp -d)"
trap 'rm -rf "$clone"' EXIT
git clone --quiet "$root" "$clone/glam"
cd "$clone/glam"

start=$SECONDS
env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME="$HOME" make setup-robot
seconds=$((SECONDS - start))
size_mb="$(du --summarize --block-size=1000000 .venv | cut -f1)"
packages="$(.venv/bin/python -m pip list --format=freeze --disable-pip-version-check)"

echo "robot installation: $size_mb MB, $(wc -l <<<"$packages") packages, set up in $seconds s"
if grep -qiE '^(torch|nvidia-|lightning)' <<<"$packages"; then
    echo "it holds packages of the training: $(grep -iE '^(torch|nvidia-|lightning)' <<<"$packages" | paste -sd' ')" >&2
    exit 1
fi
if [ "$size_mb" -ge "$limit_mb" ]; then
    echo "it is larger than $limit_mb MB; the largest parts:" >&2
    du --block-size=1000000 --summarize .venv/lib/python*/site-packages/* | sort -rn | head -10 >&2
    exit 1
fi
.venv/bin/python -c 'import glam_core.runtime, glam_msgs.msg, kinova_driver.driver_node, glam_ros.policy_node, rclpy'
