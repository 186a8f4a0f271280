"""What all tests have in common."""

from __future__ import annotations

from gateways.cli.group import describe_version

# Compares the two builds, so the pure one alone has nothing to compare.
collect_ignore = [] if "compiled" in describe_version() else ["test_parity.py"]


def pytest_report_header() -> str:
    """Say which build is tested, and from where."""
    import gateways

    return f"{describe_version()}, {gateways.__file__}"
