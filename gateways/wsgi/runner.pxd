import cython

from gateways.wsgi.body cimport Body
from gateways.wsgi.channel cimport Channel
from gateways.wsgi.environ cimport EnvironBuilder
from gateways.wsgi.errorlog cimport ErrorStream, new_error_stream
from gateways.wsgi.headers cimport check_headers, check_status


cdef class Response:
    cdef object _body
    cdef bint _bodyless
    cdef Channel _channel
    cdef bint _committed
    cdef ErrorStream _errors
    cdef bint _finished
    cdef object _headers
    cdef bint _is_head
    cdef long long _left
    cdef object _request
    cdef object _respond
    cdef bint _started
    cdef object _status
    cdef bint _surplus
    cdef public bint in_application

    cdef _begin(
        self, Channel channel, request, bint is_head, ErrorStream errors, respond, body,
    )
    cpdef send_iterable(self, iterable)

    @cython.locals(sent=cython.longlong)
    cdef _send_file(self, wrapper)

    @cython.locals(left=cython.longlong, size=Py_ssize_t)
    cdef _send(self, chunk, bint alone)

    cdef _beyond_the_end(self, chunk, bint alone)
    cdef _finish(self, chunk)
    cdef _commit(self)
    cdef _check_refused(self)
    cdef _end(self)
    cpdef send_errors(self, text)
    cpdef fail(self, int code, detail=*)


@cython.locals(response=Response)
cdef Response _new_response(
    Channel channel, request, bint is_head, ErrorStream errors, respond, body,
)

@cython.locals(errors=ErrorStream, response=Response, is_head=bint)
cpdef run_application(
    application, EnvironBuilder builder, Channel channel, request, dict variables, body,
    bint debug=*, respond=*,
)

cdef _failed(error, dict variables, Response response, bint debug)
cpdef request_name(variables)
