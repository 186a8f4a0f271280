# Wikimedia's Toolforge.
import sys
from flup.server.fcgi_fork import WSGIServer
from visitors import application as app

WSGIServer(app).run()
