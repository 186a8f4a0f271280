cdef class EpollPoller:
    cdef object _epoll
    cdef int _wake_fd
    cdef bint _all_awake

    cpdef arm(self, int fd, int events, bint known)
    cpdef forget(self, int fd)
    cpdef wait(self, timeout)


cpdef wait_for(int fd, int events, timeout, also=*)
