"""gateways: serve a Python WSGI application behind any web server.

``from gateways.fcgi import WSGIServer`` is what a ``.fcgi`` script needs; the command is
``gateways fcgi --bind /tmp/app.sock myapp:app``.
"""

from gateways.version import __version__

__all__ = ["__version__"]
