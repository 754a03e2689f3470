from setuptools import find_packages, setup

package_name = "glam_core"

setup(
    name=package_name,
    version="0.1.0",
    description="The contract between training and deployment",
    author="GLAM maintainers",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=[package_name, f"{package_name}.*"]),
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["numpy", "onnxruntime", "opencv-python-headless", "pydantic"],
    entry_points={"console_scripts": ["glam = glam_core.cli:main"]},
    zip_safe=False,
)
