"""What the real applications among the scripts need on the disk before they are started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# A plugin, which is how a page is added to Trac.
_PLUGIN = """
from trac.core import Component, implements
from trac.web.api import HTTPNotFound, IRequestHandler

class Visitors(Component):
    implements(IRequestHandler)

    def match_request(self, req):
        return req.path_info in ('/greet/you', '/form', '/missing', '/fail')

    def process_request(self, req):
        if req.path_info == '/fail':
            raise RuntimeError('it fails')
        status = 404 if req.path_info == '/missing' else 200
        seen = req.path_info, req.query_string, req.read(), sorted(req.args.items()), req.base_path
        req.send_header('X-Word', req.get_header('X-Word'))
        req.send(repr(seen).encode(), 'text/plain', status)
"""


def prepare_trac(folder: Path) -> None:
    """An environment with the plugin, whose log is on standard error."""
    environment = folder / "trac"
    words = [str(environment), "initenv", "The project", "sqlite:db/trac.db"]
    command = [sys.executable, "-W", "ignore", "-m", "trac.admin.console", *words]
    subprocess.run(command, check=True, capture_output=True)
    (environment / "plugins" / "visitors.py").write_text(_PLUGIN)
    settings = environment / "conf" / "trac.ini"
    settings.write_text(settings.read_text().replace("log_type = file", "log_type = stderr"))


def prepare_dav(folder: Path) -> None:
    """The folder that is shown."""
    (folder / "dav" / "greet").mkdir(parents=True)
    (folder / "dav" / "greet" / "you").write_text("Hello")
