"""Files for new users agree with each other: metadata, workflow, wheel, and the script for a GPU."""

import configparser
import os
import subprocess
from pathlib import Path

import pytest
import torch
import yaml

from asim_lightning.engine.native import backend

ROOT = Path(__file__).resolve().parents[1]
PYTHON = "Programming Language :: Python :: 3."


def metadata() -> configparser.ConfigParser:
    found = configparser.ConfigParser()
    found.read(ROOT / "setup.cfg", encoding="utf-8")
    return found


def test_workflow_tests_each_python_of_the_classifiers() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/check.yml").read_text(encoding="utf-8"))["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"] if "setup-python" in step.get("uses", "")]
    versions = {step["with"]["python-version"] for step in steps} | set(jobs["tests"]["strategy"]["matrix"]["python"])
    given = metadata()["metadata"]["classifiers"].split("\n")
    classified = {"3." + each.removeprefix(PYTHON) for each in given if each.startswith(PYTHON)}
    assert {each for each in versions if "$" not in each} == classified
    assert metadata()["options"]["python_requires"] == f">={min(classified, key=lambda v: int(v[2:]))}"


def test_wheel_is_built_by_the_backends_zig() -> None:
    settings = (ROOT / ".ci/cibuildwheel.toml").read_text(encoding="utf-8")  # Python 3.10 reads no TOML
    assert f"'{backend.ZIG}'" in settings
    assert 'CXX = "python -m ziglang c++"' in settings


def test_address_has_one_placeholder() -> None:
    tracked = subprocess.run(
        ["git", "grep", "-l", "example.org/asim"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode > 1:
        pytest.skip("this folder is no git checkout")
    assert set(tracked.stdout.split()) <= {"setup.cfg", "tests/test_shelf.py"}
    assert metadata()["metadata"]["url"].startswith("https://")


@pytest.mark.process
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_script_says_that_there_is_no_gpu() -> None:
    environment = {**os.environ, "ASIM_DEVICE": "cuda"}
    done = subprocess.run([ROOT / ".ci/gpu"], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert "GPU" in done.stdout
