from setuptools import find_packages, setup

package_name = "glam_training"

setup(
    name=package_name,
    version="0.1.0",
    description="Stores, GLAM, latent policy, evaluation and export",
    author="GLAM maintainers",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=[package_name, f"{package_name}.*"]),
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["glam_core", "glam_sim", "torch"],
    zip_safe=False,
)
