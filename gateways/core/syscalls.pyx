"""The functions of ``syscalls.py``, which says what they do, for the compiled build."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from cpython.pythread cimport (
    NOWAIT_LOCK,
    PyThread_acquire_lock,
    PyThread_allocate_lock,
    PyThread_free_lock,
    PyThread_release_lock,
    WAIT_LOCK,
)
from libc.errno cimport EAGAIN, EINTR, errno
from posix.unistd cimport close as c_close
from posix.unistd cimport read, write

cdef extern from "sys/epoll.h" nogil:
    cdef union epoll_data:
        int fd
    ctypedef epoll_data epoll_data_t
    cdef struct epoll_event:
        unsigned int events
        epoll_data_t data
    int EPOLL_CTL_MOD
    int epoll_ctl(int epfd, int op, int fd, epoll_event *event)
    int epoll_wait(int epfd, epoll_event *events, int maxevents, int timeout)

cdef extern from "poll.h" nogil:
    cdef struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *fds, unsigned long count, int timeout)

cdef extern from "sys/uio.h":
    cdef struct iovec:
        void *iov_base
        size_t iov_len
    ssize_t writev(int fd, iovec *vectors, int count)

cdef extern from "sys/prctl.h":
    int c_prctl "prctl"(int option, ...)

cdef extern from *:
    """
    #include <arpa/inet.h>
    #include <netinet/in.h>
    #include <sys/socket.h>

    /* The address as text, its port and family; "" where it is of another family. */
    static int describe(struct sockaddr_storage *peer, char *text, int *port, unsigned int *flow,
                        unsigned int *scope) {
        text[0] = 0;
        if (peer->ss_family == AF_INET) {
            struct sockaddr_in *four = (struct sockaddr_in *)peer;
            inet_ntop(AF_INET, &four->sin_addr, text, INET6_ADDRSTRLEN);
            *port = ntohs(four->sin_port);
            return 4;
        }
        if (peer->ss_family == AF_INET6) {
            struct sockaddr_in6 *six = (struct sockaddr_in6 *)peer;
            inet_ntop(AF_INET6, &six->sin6_addr, text, INET6_ADDRSTRLEN);
            *port = ntohs(six->sin6_port);
            *flow = ntohl(six->sin6_flowinfo);
            *scope = six->sin6_scope_id;
            return 6;
        }
        return 0;
    }
    """
    cdef struct sockaddr_storage:
        pass
    cdef struct sockaddr:
        pass
    ctypedef unsigned int socklen_t
    int SOCK_NONBLOCK
    int SOCK_CLOEXEC
    int INET6_ADDRSTRLEN
    int accept4(int sockfd, sockaddr *addr, socklen_t *addrlen, int flags)
    int c_shutdown "shutdown"(int sockfd, int how)
    int describe(
        sockaddr_storage *peer, char *text, int *port, unsigned int *flow, unsigned int *scope
    )

cdef enum:
    _RECEIVE_BYTES = 65536
    _MOST_EVENTS = 32
    _MOST_VECTORS = 64

RECEIVE_BYTES = _RECEIVE_BYTES
MOST_EVENTS = _MOST_EVENTS
MOST_VECTORS = _MOST_VECTORS


cpdef tuple accept(listening, int number):
    cdef sockaddr_storage peer
    cdef socklen_t length
    cdef int fd, port = 0, version
    cdef unsigned int flow = 0, scope = 0
    cdef char text[64]
    while True:
        length = sizeof(peer)
        fd = accept4(number, <sockaddr *>&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd >= 0:
            break
        if errno == EAGAIN:
            return None
        _check_interrupted()
    version = describe(&peer, text, &port, &flow, &scope)
    if version == 0:
        return fd, ""
    host = text.decode("ascii")
    return (fd, (host, port)) if version == 4 else (fd, (host, port, flow, scope))


cpdef bytes receive(int fd):
    cdef char buffer[_RECEIVE_BYTES]
    cdef Py_ssize_t got
    while True:
        got = read(fd, buffer, _RECEIVE_BYTES)
        if got >= 0:
            return PyBytes_FromStringAndSize(buffer, got)
        if errno == EAGAIN:
            return None
        _check_interrupted()


cpdef Py_ssize_t send(int fd, data) except -1:
    cdef Py_buffer view
    cdef Py_ssize_t sent
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        while True:
            sent = write(fd, view.buf, view.len)
            if sent >= 0:
                return sent
            if errno == EAGAIN:
                return 0
            _check_interrupted()
    finally:
        PyBuffer_Release(&view)


cpdef Py_ssize_t send_vectors(int fd, list buffers, Py_ssize_t count) except -1:
    cdef Py_buffer views[_MOST_VECTORS]
    cdef iovec vectors[_MOST_VECTORS]
    cdef Py_ssize_t sent
    cdef int held = 0, index
    if count > _MOST_VECTORS:
        raise ValueError("too many buffers for one call")
    try:
        for index in range(count):
            PyObject_GetBuffer(buffers[index], &views[index], PyBUF_SIMPLE)
            held += 1
            vectors[index].iov_base = views[index].buf
            vectors[index].iov_len = views[index].len
        while True:
            sent = writev(fd, vectors, count)
            if sent >= 0:
                return sent
            if errno == EAGAIN:
                return 0
            _check_interrupted()
    finally:
        for index in range(held):
            PyBuffer_Release(&views[index])


cdef class Lock:
    """``threading.Lock``, for short waits: they are not interrupted, and cannot time out."""

    def __cinit__(self):
        self._lock = PyThread_allocate_lock()
        if self._lock == NULL:
            raise MemoryError("no memory for a lock")

    def __dealloc__(self):
        if self._lock != NULL:
            PyThread_free_lock(self._lock)

    cpdef bint acquire(self) except -1:
        if not PyThread_acquire_lock(self._lock, NOWAIT_LOCK):
            self._wait()
        return True

    cdef _wait(self):
        if _wait_for_lock is None:
            with nogil:
                PyThread_acquire_lock(self._lock, WAIT_LOCK)
            return
        while not PyThread_acquire_lock(self._lock, NOWAIT_LOCK):
            _wait_for_lock()

    cpdef release(self):
        PyThread_release_lock(self._lock)

    def _at_fork_reinit(self):
        # The thread that held it is not in this process. The old one is left alone, as CPython
        # does: to free what may be held is undefined.
        cdef PyThread_type_lock lock = PyThread_allocate_lock()
        if lock == NULL:
            raise MemoryError("no memory for a lock")
        self._lock = lock

    def __enter__(self):
        return self.acquire()

    def __exit__(self, kind, error, traceback):
        self.release()


cdef object _wait_for_lock = None


cpdef Lock new_lock():
    return Lock.__new__(Lock)


cpdef when_held(wait):
    global _wait_for_lock
    _wait_for_lock = wait


cpdef int close(int fd) except -1:
    # Not repeated after EINTR: Linux has closed it by then.
    if c_close(fd) < 0 and errno != EINTR:
        PyErr_SetFromErrno(OSError)
    return 0


cpdef int shutdown(int fd, int how) except -1:
    if c_shutdown(fd, how) < 0:
        PyErr_SetFromErrno(OSError)
    return 0


cpdef tuple next_event(epoll, int number, double timeout, others):
    cdef epoll_event events[_MOST_EVENTS]
    cdef int most = 1 if others is None else _MOST_EVENTS
    # Rounded up: who waits for a moment must not come too early, and then again and again.
    cdef int milliseconds = -1 if timeout < 0 else <int>(timeout * 1000 + 0.999)
    cdef int found, index
    while True:
        with nogil:
            found = epoll_wait(number, events, most, milliseconds)
        if found > 0:
            for index in range(1, found):
                others.append((events[index].data.fd, events[index].events))
            return events[0].data.fd, events[0].events
        if found == 0:
            return None
        _check_interrupted()


cpdef int wait_for_one(int fd, int events, double timeout) except -1:
    cdef pollfd one
    cdef int milliseconds = -1 if timeout < 0 else <int>(timeout * 1000 + 0.999)
    cdef int found
    one.fd = fd
    one.events = <short>events
    while True:
        one.revents = 0
        with nogil:
            found = poll(&one, 1, milliseconds)
        if found > 0:
            return one.revents
        if found == 0:
            return 0
        _check_interrupted()


cpdef int rearm(epoll, int number, int fd, unsigned int events) except -1:
    cdef epoll_event event
    event.events = events
    event.data.fd = fd
    if epoll_ctl(number, EPOLL_CTL_MOD, fd, &event) < 0:
        PyErr_SetFromErrno(OSError)
    return 0


cpdef bint prctl(int option, value):
    cdef unsigned long argument
    if isinstance(value, bytes):
        argument = <unsigned long><char *>value
    else:
        argument = value
    return c_prctl(option, argument, <unsigned long>0, <unsigned long>0, <unsigned long>0) == 0


cdef int _check_interrupted() except -1:
    """After a failed call: return to repeat it, else raise the error."""
    if errno != EINTR:
        PyErr_SetFromErrno(OSError)
    return PyErr_CheckSignals()
