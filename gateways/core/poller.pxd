from gateways.core.syscalls cimport next_event, rearm

cdef int EPOLLONESHOT


cdef class Poller:
    cpdef watch(self, int fd)
    cpdef arm(self, int fd, int events, bint known)
    cpdef forget(self, int fd)
    cpdef tuple wait(self, timeout)
    cpdef wake(self)


cdef class EpollPoller(Poller):
    cdef object _epoll
    cdef int _number
    cdef int _wake_fd
    cdef bint _all_awake



cpdef wait_for(int fd, int events, timeout, also=*)
