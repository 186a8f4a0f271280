"""What all tests have in common."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from gateways.cli.group import describe_version

# Compares the two builds, so the pure one alone has nothing to compare.
collect_ignore = [] if "compiled" in describe_version() else ["test_parity.py"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tests log what is no text; a worker of pytest-xdist could not hand that on."""
    report = yield
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    return report


def pytest_report_header() -> str:
    """Say which build is tested, and from where."""
    import gateways

    return f"{describe_version()}, {gateways.__file__}"
