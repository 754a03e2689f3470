"""The pages say what the code does: every limit with its default."""

import re
from pathlib import Path

from glam_core.gen3 import JOINT_ACCELERATION_LIMITS_RAD_S2, JOINT_LIMITS_RAD, JOINT_SPEED_LIMITS_RAD_S
from glam_core.limits import SafetyLimits

DOCS = Path(__file__).resolve().parents[1] / "docs"


def limits_table() -> dict[str, str]:
    """Limit to default, as docs/safety.md has them."""
    rows = re.findall(r"^\| (`[^|]*) \| ([^|]*) \|", (DOCS / "safety.md").read_text(encoding="utf-8"), re.MULTILINE)
    return {name: default.strip() for names, default in rows for name in re.findall(r"`(\w+)`", names)}


def test_the_safety_page_has_every_limit_with_its_default() -> None:
    table = limits_table()
    assert set(table) == set(SafetyLimits.model_fields)
    for name, field in SafetyLimits.model_fields.items():
        if isinstance(field.default, float):
            assert float(table[name]) == field.default, name
        elif name.startswith("link_workspace"):
            assert tuple(float(value) for value in table[name].split(",")) == field.default, name


def test_the_safety_page_has_the_limits_of_the_arm() -> None:
    table = limits_table()
    for index, limit in enumerate(JOINT_LIMITS_RAD, start=1):
        assert (limit is None) or f"joint_{index} ±{limit}" in table["joint_ranges_rad"]
    for value in JOINT_SPEED_LIMITS_RAD_S:
        assert str(value) in table["max_joint_speeds_rad_s"]
    for value in JOINT_ACCELERATION_LIMITS_RAD_S2:
        assert str(value) in table["max_joint_accelerations_rad_s2"]
