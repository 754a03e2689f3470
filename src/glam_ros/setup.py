"""Installs the nodes, and the folders launch/, models/ and config/ of the repository root into share/glam_ros."""

from pathlib import Path

from setuptools import find_packages, setup

package_name = "glam_ros"
here = Path(__file__).resolve().parent


def shared_files(folder: str) -> list[tuple[str, list[str]]]:
    """Lists the files below a folder as data_files; the folder is a link beside this file into the repository root."""
    files = [path.relative_to(here) for path in (here / folder).rglob("*") if path.is_file()]
    files = [path for path in files if "__pycache__" not in path.parts]
    parents = sorted({path.parent for path in files})
    return [
        (f"share/{package_name}/{parent}", sorted(str(path) for path in files if path.parent == parent))
        for parent in parents
    ]


setup(
    name=package_name,
    version="0.1.0",
    description="Nodes of the GLAM deployment graph",
    author="GLAM maintainers",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=[package_name, f"{package_name}.*"]),
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
        *shared_files("launch"),
        *shared_files("models"),
        *shared_files("config"),
    ],
    install_requires=["glam_core", "numpy", "opencv-python-headless", "PyYAML"],
    entry_points={
        "console_scripts": [
            "camera_node = glam_ros.camera_node:main",
            "decoder_node = glam_ros.decoder_node:main",
            "monitor = glam_ros.monitor:main",
            "policy_node = glam_ros.policy_node:main",
            "record_demos = glam_ros.record_demos:main",
        ]
    },
    zip_safe=False,
)
