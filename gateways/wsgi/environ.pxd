import cython


cdef tuple _SUSPECTS
cdef object _DROPPED
cdef set _ports


cdef class EnvironBuilder:
    cdef object _script_name
    cdef bint _trust_remote_user
    cdef bint _assumption_logged
    cdef bint _doubling_logged
    cdef bint _https_logged
    cdef dict _base
    cdef object _version

    cpdef prepare(self, dict variables)

    @cython.locals(environ=dict)
    cpdef dict build(self, dict variables, body, errors)

    @cython.locals(name=str, https=bint, environ=dict)
    cdef _complete(self, dict variables)

    @cython.locals(server_name=str, port=str)
    cdef _fill_in(self, dict variables, bint https)

    @cython.locals(script_name=str, path_info=str, split=bint)
    cpdef _detect_paths(self, dict variables)
    cdef _note_doubled_prefix(self, dict variables, str script_name, str path_info)
    cdef _note_lost_https(self, str forwarded)
    cdef _mounted_paths(self, dict variables, prefix)


cdef bint _is_port(str port) except -1
cdef _set_paths(dict variables, str script_name, str path_info)

@cython.locals(previous=str)
cdef _set(dict variables, str name, str note, str value)

@cython.locals(uri=str)
cdef str _request_path(dict variables)
cdef bint _below(str path, str prefix) except -1

@cython.locals(script=str, software=str)
cdef bint _splits_paths(dict variables) except -1

@cython.locals(name=str)
cdef str _server_name(str given, dict variables)
