"""The WSGI side: environ, input, running and loading an application. It knows no wire format."""
