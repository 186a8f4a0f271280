#!@PYTHON@
"""What mod_fcgid, lighttpd or spawn-fcgi start: an executable script with the listening socket on fd 0.

The first line names the interpreter, for example /var/www/yourapplication/.venv/bin/python3.
"""

import sys

sys.path.insert(0, "@SCRIPTS@")

from gateways.fcgi import WSGIServer
from yourapplication import app

if __name__ == "__main__":
    WSGIServer(app).run()
