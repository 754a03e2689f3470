#!/usr/bin/env bash
# Builds packages of the workspace with colcon: `scripts/build.sh messages` or `scripts/build.sh packages`.
# Everything goes into .venv, which is an ament prefix: the one of the ROS 2 wheels, or an overlay of a full
# installation. build/, install/ and log/ stay free for a colcon build by hand.
#   ROS_ORIGIN  "wheels" or "installation"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root="$PWD"
export PATH="$root/.venv/bin:$PATH" VIRTUAL_ENV="$root/.venv"
messages=(src/glam_msgs)
cmake_arguments=(
    -GNinja
    "-DPython3_EXECUTABLE=$root/.venv/bin/python"
    "-DCMAKE_PROJECT_INCLUDE=$root/cmake/drop_missing_includes.cmake"
)
if [ "${ROS_ORIGIN:-wheels}" = wheels ]; then
    export AMENT_PREFIX_PATH="$VIRTUAL_ENV" CMAKE_PREFIX_PATH="$VIRTUAL_ENV"
    messages+=(underlay/tf2_msgs)
fi
packages=(glam_core glam_sim glam_training glam_ros kinova_driver)

colcon_build() {
    python -m colcon --log-base .venv/log build --build-base .venv/build --install-base .venv --merge-install \
        --event-handlers console_start_end- summary- "$@"
}

case "${1:-}" in
messages)
    # colcon warns about an ament prefix without this file, which it writes itself at the end of the build.
    [ -e .venv/local_setup.sh ] || touch .venv/local_setup.sh
    colcon_build --paths "${messages[@]}" --cmake-args "${cmake_arguments[@]}"
    ;;
packages)
    # What a folder lost since the last build shall not linger in share/.
    for package in "${packages[@]}"; do
        rm -rf ".venv/share/$package" ".venv/share/ament_index/resource_index/packages/$package"
    done
    colcon_build --symlink-install --paths "${packages[@]/#/src/}"
    # colcon leaves symlinks to the Python packages in the build folder and names it in its shell hooks; this names it to
    # every start of .venv/bin/python.
    site_packages="$(python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')"
    printf '%s\n' "${packages[@]/#/$root/.venv/build/}" >"$site_packages/glam_workspace.pth"
    ;;
*)
    echo "usage: scripts/build.sh messages|packages" >&2
    exit 2
    ;;
esac
