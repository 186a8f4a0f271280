"""What all tests have in common."""

from __future__ import annotations

from gateways.cli import describe_version


def pytest_report_header() -> str:
    """Say which build is tested, and from where."""
    import gateways

    return f"{describe_version()}, {gateways.__file__}"
