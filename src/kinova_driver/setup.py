from setuptools import find_packages, setup

package_name = "kinova_driver"

setup(
    name=package_name,
    version="0.1.0",
    description="The Kinova Gen3: arm interface, backends, watchdog and nodes",
    author="GLAM maintainers",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=[package_name, f"{package_name}.*"]),
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
        ("bin", ["bin/kinova", "bin/kinova-sim"]),
    ],
    install_requires=["glam_core"],
    entry_points={
        "console_scripts": [
            "driver_node = kinova_driver.driver_node:main",
            "expert_node = kinova_driver.expert_node:main",
            "simulated_cell = kinova_driver.simulated_cell:main",
        ]
    },
    zip_safe=False,
)
