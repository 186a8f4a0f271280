"""The multiplexing core: the only place where wire formats and WSGI meet, and all the I/O."""
