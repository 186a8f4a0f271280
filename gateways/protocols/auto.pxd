from gateways.protocols.base cimport Codec


cdef class Auto(Codec):
    cdef object _new_body
    cdef object _address
    cdef object _factories
    cdef public Codec codec
    cdef bytes _held

    cdef Codec _real(self)
    cdef _take_over(self, Codec codec)
