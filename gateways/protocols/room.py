"""An empty dict for the variables of a request, which become its environ."""

from __future__ import annotations


def new_variables() -> dict[str, str]:
    """An empty dict. The compiled build takes the one of the ``.pxd``, which has room for an
    environ from the start: to grow is a third of what filling it costs.
    """
    return {}
