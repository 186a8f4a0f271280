import cython

from gateways.core.syscalls cimport next_event, rearm, wait_for_one

cdef int EPOLLONESHOT


cdef class Poller:
    cdef public bint is_shared
    cdef object _of_thread

    cpdef share(self, bint is_shared)
    cpdef watch(self, int fd)
    cpdef int arm(self, int fd, int events, bint known) except -1
    cpdef forget(self, int fd)
    cpdef tuple wait(self, timeout)
    cpdef wake(self)


cdef class EpollPoller(Poller):
    cdef object _epoll
    cdef readonly int _number
    cdef int _wake_fd
    cdef bint _all_awake
    cdef readonly object _found

    @cython.locals(stays=cython.int, flags=cython.int)
    cpdef int arm(self, int fd, int events, bint known) except -1

    @cython.locals(event=tuple)
    cpdef tuple wait(self, timeout)

    cdef tuple _take(self)
    cdef _drop(self, int fd)
    cdef _offer(self)


cpdef wait_for(int fd, int events, timeout, also=*)
