# One child, renewed from time to time, as shared hosts have it.
from flup.server.fcgi_fork import WSGIServer
from visitors import application

if __name__ == '__main__':
    WSGIServer(application, **{'maxRequests': 100, 'maxSpare': 1, 'minSpare': 1, 'maxChildren': 1}).run()
