#!/usr/bin/python3
from flup.server.cgi import WSGIServer
from visitors import application

WSGIServer(application).run()
