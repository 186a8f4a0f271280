#!/usr/bin/python3
# A server of its own, behind nginx or Caddy, whose user must be able to connect.
import os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from flup.server.fcgi import WSGIServer
from visitors import application

ret = WSGIServer(application, {"mine": "1"}, bindAddress='@SOCKET@', umask=0000).run()
sys.exit(ret and 42 or 0)
