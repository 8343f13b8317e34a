"""Packaging: every fact comes from settings.ini."""
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

config = ConfigParser(delimiters=["="])
config.read(Path(__file__).parent / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]
extras = {key.removesuffix("_requirements"): settings[key].split()
          for key in settings if key.endswith("_requirements")}

setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license=settings["license"],
    author=settings["author"],
    author_email=settings["author_email"],
    url=settings["git_url"],
    keywords=settings["keywords"].split(),
    packages=find_packages(include=[settings["lib_path"], settings["lib_path"] + ".*"]),
    include_package_data=True,
    install_requires=settings["requirements"].split(),
    extras_require=extras,
    python_requires=">=" + settings["min_python"],
    zip_safe=False,
    entry_points={
        "console_scripts": ["robcomp = robcomp.study:main"],
        "nbdev": [f"{settings['lib_path']}={settings['lib_path']}._modidx:d"],
    },
)
