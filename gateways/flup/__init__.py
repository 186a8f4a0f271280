"""flup's servers, module by module, under flup's names and with flup's arguments.

``gateways run`` has scripts that import ``flup.server.*`` find these instead (``standin``). They
are what ``gateways.fcgi``, ``gateways.scgi`` and ``gateways.cgi`` are, and take what flup took
beyond PEP 3333: `str` in response bodies and `bytes` in heads.
"""

from __future__ import annotations
