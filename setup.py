"""Packaging: every fact comes from settings.ini."""
from configparser import ConfigParser
from pathlib import Path
from shutil import copytree, ignore_patterns, rmtree

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
# Experiment notebooks and committed tables stand once in git; a wheel gets a copy, which robcomp/_files/shipped.py finds.
SHIPPED = {"experiments": "nbs/experiments", "results": "results"}
# What a wheel does without; the last are further dense networks of one network and data set.
LEFT_OUT = ("runs", ".*", "*.partial", "*.csv", "trust", "*_seed[0-9].safetensors")


class BuildWithData(build_py):
    """Python files as always, and beside them what is shipped. An editable install uses the clone's own folders."""

    def run(self):
        super().run()
        if self.editable_mode: return
        target = Path(self.build_lib) / "robcomp" / "_shipped"
        rmtree(target, ignore_errors=True)
        for name, source in SHIPPED.items():
            copytree(ROOT / source, target / name, ignore=ignore_patterns(*LEFT_OUT))


config = ConfigParser(delimiters=["="])
config.read(ROOT / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]
extras = {key.removesuffix("_requirements"): settings[key].split()
          for key in settings if key.endswith("_requirements")}

setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license=settings["license"],
    author=settings["author"],
    author_email=settings["author_email"],
    url=settings["git_url"],
    keywords=settings["keywords"].split(),
    packages=find_packages(include=[settings["lib_path"], settings["lib_path"] + ".*"]),
    package_data={settings["lib_name"]: ["py.typed", "*.pyi"]},
    include_package_data=False,
    cmdclass={"build_py": BuildWithData},
    install_requires=settings["requirements"].split(),
    extras_require=extras,
    python_requires=">=" + settings["min_python"],
    zip_safe=False,
    entry_points={
        "console_scripts": ["robcomp = robcomp.command:main"],
        "nbdev": [f"{settings['lib_path']}={settings['lib_path']}._modidx:d"],
    },
)
