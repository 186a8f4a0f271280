"""The WSGI side: environ, input, running an application, loading it. No wire format is known here."""
