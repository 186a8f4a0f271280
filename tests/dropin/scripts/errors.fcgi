# Error pages of its own, by flup's extension points.
import flup.server.fcgi
from visitors import application

class Server(flup.server.fcgi.WSGIServer):
    def handler(self, req):
        req.params['HTTP_X_WORD'] = 'from the handler'
        return flup.server.fcgi.WSGIServer.handler(self, req)

    def error(self, req):
        req.stdout.write(b'Status: 503 Out Of Order\r\nContent-Type: text/plain\r\n\r\nsorry')

Server(application, bindAddress='@SOCKET@').run()
