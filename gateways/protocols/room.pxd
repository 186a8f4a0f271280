# Cython's own macro for dict displays, which knows what each version of CPython has.
cdef extern from *:
    """
    #define gateways_new_variables() __Pyx_PyDict_NewPresized(48)
    """
    dict new_variables "gateways_new_variables" ()
