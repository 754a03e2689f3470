# Source me: `source scripts/env.sh` puts `glam`, the ROS 2 nodes and the message types of this workspace into the shell.
# Works in bash and zsh. The programs of .venv/bin run without it; it is for working by hand and for the ros2 command.

GLAM_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd)"
export GLAM_ROOT

# shellcheck disable=SC1091
. "$GLAM_ROOT/.venv/bin/activate"

if [ -f "$GLAM_ROOT/install/local_setup.sh" ] && [ -n "${ROS_DISTRO:-}" ]; then
    # A full ROS 2 installation is sourced: the workspace was built into install/ as an overlay of it.
    if [ -n "${ZSH_VERSION:-}" ]; then . "$GLAM_ROOT/install/local_setup.zsh"; else . "$GLAM_ROOT/install/local_setup.bash"; fi
else
    # ROS 2 comes from wheels: the virtual environment is the ament prefix that holds it and this workspace.
    export AMENT_PREFIX_PATH="$VIRTUAL_ENV" CMAKE_PREFIX_PATH="$VIRTUAL_ENV"
fi

export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
export FASTRTPS_DEFAULT_PROFILES_FILE="${FASTRTPS_DEFAULT_PROFILES_FILE:-$GLAM_ROOT/config/fastdds.xml}"
