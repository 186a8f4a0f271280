# SCGI, as mod_scgi and lighttpd ask it.
import logging
from flup.server.scgi import WSGIServer
from visitors import application

WSGIServer(application, bindAddress=('127.0.0.1', @PORT@), allowedServers=['127.0.0.1'],
           loggingLevel=logging.WARNING).run()
