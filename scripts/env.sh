# Source me: `source scripts/env.sh` puts `glam`, the ROS 2 nodes and the message types of this workspace into the shell.
# Works in bash and zsh. Where ROS 2 comes from wheels, the programs of .venv/bin run without it, too.

GLAM_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd)"
export GLAM_ROOT

# shellcheck disable=SC1091
. "$GLAM_ROOT/.venv/bin/activate"

if [ -d "$GLAM_ROOT/.venv/done-installation" ]; then
    # The environment is an overlay of the full ROS 2 installation that this shell has sourced.
    if [ "${ROS_DISTRO:-}" != jazzy ]; then
        echo "this workspace was built on a full ROS 2 Jazzy: source its setup.bash first" >&2
    fi
    # shellcheck disable=SC1091
    if [ -n "${ZSH_VERSION:-}" ]; then . "$GLAM_ROOT/.venv/local_setup.zsh"; else . "$GLAM_ROOT/.venv/local_setup.bash"; fi
else
    # The environment is the ament prefix that holds the ROS 2 wheels and this workspace.
    export AMENT_PREFIX_PATH="$VIRTUAL_ENV" CMAKE_PREFIX_PATH="$VIRTUAL_ENV"
fi

export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
export FASTRTPS_DEFAULT_PROFILES_FILE="${FASTRTPS_DEFAULT_PROFILES_FILE:-$GLAM_ROOT/config/fastdds.xml}"
