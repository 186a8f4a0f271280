import cython


cdef tuple _SUSPECTS
cdef object _DROPPED


cdef class EnvironBuilder:
    cdef object _script_name
    cdef bint _trust_remote_user
    cdef bint _assumption_logged
    cdef dict _base

    cpdef dict build(self, dict variables, body, errors)
    cdef _fill_in(self, dict variables, bint https)
    cpdef _detect_paths(self, dict variables)
    cdef _mounted_paths(self, dict variables, prefix)


cdef _set_paths(dict variables, script_name, path_info)
cdef _note_original(dict variables, str name, str note, value)
cdef _request_path(dict variables)
cdef bint _below(path, prefix) except -1
cdef bint _splits_paths(dict variables) except -1
cdef _server_name(given, dict variables)
