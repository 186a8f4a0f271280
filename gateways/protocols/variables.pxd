import cython

from gateways.protocols.familiar cimport Names, check_count, long_lengths

cdef Names _fields, _pairs, _vars


@cython.locals(variables=dict)
cpdef dict decode_pairs(
    bytes data, Py_ssize_t max_variables=*, Py_ssize_t start=*, Py_ssize_t end=*,
    Names names=*,
)

@cython.locals(variables=dict)
cpdef dict decode_vars(
    bytes data, Py_ssize_t max_variables=*, Py_ssize_t start=*, Names names=*,
)

@cython.locals(variables=dict)
cpdef dict decode_fields(bytes data, Py_ssize_t max_variables=*, Names names=*)

cpdef content_length(dict variables)
