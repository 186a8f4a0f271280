# web.py's runfcgi, as openlibrary.org has it: the module by another name, options from a file.
import flup.server.fcgi as flups
from visitors import application

def runfcgi(func, addr=('localhost', 8000), **config):
    """Runs a WSGI function as a FastCGI server."""
    return flups.WSGIServer(func, multiplexed=True, bindAddress=addr, debug=False, **config).run()

runfcgi(application, ('127.0.0.1', @PORT@), minSpare=2, maxSpare=4, maxThreads=6)
