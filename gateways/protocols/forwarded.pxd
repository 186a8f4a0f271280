import cython

cdef tuple _X_FORWARDED


@cython.locals(field=str)
cpdef apply_forwarded(dict variables, trusted)

cdef str _last(str field)
cdef _set_client(dict variables, tuple client)
cdef _set_scheme(dict variables, str scheme)
