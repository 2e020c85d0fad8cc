"""Shared by all tests: Hypothesis profiles, and --require, which turns skips of a marker into failures."""

import os

import pytest
from hypothesis import settings

for name, examples in (("dev", 100), ("ci", 300)):
    settings.register_profile(name, max_examples=examples, deadline=None, derandomize=True, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
os.environ.pop("COLUMNS", None)  # tables are as wide as where stdout is no terminal, also in a worker


def pytest_addoption(parser):
    parser.addoption(
        "--require",
        action="append",
        default=[],
        metavar="MARKER",
        help="a test with this marker fails where it would be skipped; may be given again",
    )


def pytest_configure(config):
    known = {line.split(":")[0].split("(")[0] for line in config.getini("markers")}
    for name in config.getoption("--require"):
        if name not in known:
            raise pytest.UsageError(f"--require {name}: no such marker; known: {', '.join(sorted(known))}")


@pytest.fixture
def torch():
    """torch on one thread; without it the test is skipped."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    return torch


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    required = [name for name in item.config.getoption("--require") if item.get_closest_marker(name)]
    if report.skipped and required and not hasattr(report, "wasxfail"):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"--require {required[0]}: {reason}"
    return report
