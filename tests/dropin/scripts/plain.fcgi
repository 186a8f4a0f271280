#!/usr/bin/env python3
# The first example of flup's documentation: on descriptor 0, which web servers pass.
from visitors import application
from flup.server.fcgi import WSGIServer

if __name__ == "__main__":
    WSGIServer(application).run()
