# SCGI with processes, both modules in one import.
from flup.server import scgi, scgi_fork as server, NoDefault
from visitors import application

server.WSGIServer(application, NoDefault, None, "@SOCKET@", maxSpare=2, maxChildren=2).run()
