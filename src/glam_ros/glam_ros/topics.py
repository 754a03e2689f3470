"""Names of topics, services and nodes: the one place where they are spelt. An arm's topics live in its namespace."""

from __future__ import annotations

TOOL_STATE = "tool_state"
JOINT_STATES = "joint_states"
SCENE = "scene"
LATENT_CHUNK = "policy/latent_chunk"
COMMAND = "command"
COMMAND_REPORT = "command_report"
PREDICTED_PATH = "predicted_path"
TOOL_PATH = "tool_path"
EPISODE_STATUS = "episode_status"
DIAGNOSTICS = "/diagnostics"
RESET_CELL = "/cell/reset"
DRIVER_NODE = "driver"
ENABLE_DRIVER = "enable"
CLEAR_FAULTS = "clear_faults"


def camera_image(camera: str) -> str:
    """The topic of a camera's images, unless its station says otherwise."""
    return f"camera/{camera}/image_raw"


def camera_info(image_topic: str) -> str:
    """The topic of the intrinsics that come with every image of a simulated camera."""
    return f"{image_topic.rpartition('/')[0]}/camera_info"


def of_arm(namespace: str, topic: str) -> str:
    """The absolute name of an arm's topic; the namespace is empty when there is one arm."""
    return "/" + "/".join(part for part in (namespace.strip("/"), topic) if part)


def base_frame(namespace: str) -> str:
    """The frame that an arm's poses are given in."""
    return "/".join(part for part in (namespace.strip("/"), "base_link") if part)
