"""Internet addresses: converts the kernel's sockaddr to Python's tuple and back.

A datagram socket usually has few peers, so an AddressBook caches both directions. Only
numeric addresses are converted here. All others are left to the socket module, which
also raises the errors for invalid ones.
"""

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE)
from cpython.long cimport PyLong_CheckExact
from cpython.tuple cimport PyTuple_CheckExact
from cpython.unicode cimport PyUnicode_CheckExact
from libc.string cimport memset

from uring_loop.driver.libc cimport (
    AF_INET, AF_INET6, SOCK_CLOEXEC, SOCK_NONBLOCK, accept4, getpeername,
    getsockname, htonl, htons, inet_ntop, inet_pton, ntohl, ntohs, sockaddr,
    sockaddr_in, sockaddr_in6)

cdef enum:
    TEXT_BYTES = 46
    # The most peers in the cache.
    NAMES_MOST = 1024
    FLOWINFO_MOST = 0xFFFFF


@cython.final
cdef class AddressBook:
    """The cached addresses of one socket of family AF_INET or AF_INET6."""

    def __cinit__(self, int family):
        self.family = family
        self.names = {}
        self.raws = {}

    cdef object name(self, const char *raw, Py_ssize_t size):
        """The tuple of a sockaddr of this family."""
        cdef bytes key = PyBytes_FromStringAndSize(raw, size)
        cdef object name = self.names.get(key)
        if name is not None:
            return name
        if self.family == AF_INET:
            name = name_of_inet(<const sockaddr_in *>PyBytes_AS_STRING(key))
        else:
            name = name_of_inet6(<const sockaddr_in6 *>PyBytes_AS_STRING(key))
        if len(self.names) >= NAMES_MOST:
            self.names.clear()
        self.names[key] = name
        return name

    cdef bytes raw(self, address):
        """The sockaddr of a numeric address; None: the socket module must convert
        it."""
        cdef bytes raw
        if not PyTuple_CheckExact(address) or not is_plain(<tuple>address):
            return None
        raw = self.raws.get(address)
        if raw is None:
            raw = self.parse(address)
            if raw is not None:
                if len(self.raws) >= NAMES_MOST:
                    self.raws.clear()
                self.raws[address] = raw
        return raw

    cdef bytes parse(self, tuple address):
        cdef sockaddr_in inet
        cdef sockaddr_in6 inet6
        cdef Py_ssize_t count = len(address)
        if (not address[0].isascii() or "\0" in address[0]
                or not 0 <= address[1] <= 0xFFFF):
            return None
        host = address[0].encode()
        if self.family == AF_INET:
            memset(&inet, 0, sizeof(inet))
            inet.sin_family = AF_INET
            inet.sin_port = htons(address[1])
            if count != 2 or not inet_pton(AF_INET, host, &inet.sin_addr):
                return None
            return PyBytes_FromStringAndSize(<const char *>&inet, sizeof(inet))
        memset(&inet6, 0, sizeof(inet6))
        inet6.sin6_family = AF_INET6
        inet6.sin6_port = htons(address[1])
        if count > 2:
            if not 0 <= address[2] <= FLOWINFO_MOST:
                return None
            inet6.sin6_flowinfo = htonl(address[2])
        if count > 3:
            if not 0 <= address[3] <= 0xFFFFFFFF:
                return None
            inet6.sin6_scope_id = address[3]
        if count > 4 or not inet_pton(AF_INET6, host, &inet6.sin6_addr):
            return None
        return PyBytes_FromStringAndSize(<const char *>&inet6, sizeof(inet6))


cdef bint is_plain(tuple address) except -1:
    """Is the address a str and ints, of exactly these types? The socket module refuses
    equal values of other types (5.0 for 5), but a dictionary would find them."""
    cdef Py_ssize_t i
    if len(address) < 2 or not PyUnicode_CheckExact(address[0]):
        return False
    for i in range(1, len(address)):
        if not PyLong_CheckExact(address[i]):
            return False
    return True


cdef int take_sockname(int fd, RawName *name) noexcept:
    # System call and stores: cannot raise.
    cdef unsigned size = sizeof(RawName)
    return checked_family(getsockname(fd, <sockaddr *>name, &size), name)


cdef int take_peername(int fd, RawName *name) noexcept:
    # System call and stores: cannot raise.
    cdef unsigned size = sizeof(RawName)
    return checked_family(getpeername(fd, <sockaddr *>name, &size), name)


cdef int accept_named(int fd, RawName *name) noexcept:
    """accept4(2): the new descriptor or -1, and the name of its peer."""
    # System call and stores: cannot raise.
    cdef unsigned size = sizeof(RawName)
    cdef int conn
    name.family = 0
    conn = accept4(fd, <sockaddr *>name, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
    checked_family(0, name)
    return conn


cdef int checked_family(int res, RawName *name) noexcept:
    # Compares numbers: cannot raise.
    if res == 0 and (name.family == AF_INET or name.family == AF_INET6):
        return 1
    name.family = 0
    return res


cdef object read_name(const RawName *name):
    """The address as the tuple that the socket module returns."""
    if name.family == AF_INET:
        return name_of_inet(<const sockaddr_in *>name)
    return name_of_inet6(<const sockaddr_in6 *>name)


cdef object name_of_inet(const sockaddr_in *address):
    cdef char text[TEXT_BYTES]
    inet_ntop(AF_INET, &address.sin_addr, text, TEXT_BYTES)
    return (text.decode("ascii"), <int>ntohs(address.sin_port))


cdef object name_of_inet6(const sockaddr_in6 *address):
    cdef char text[TEXT_BYTES]
    inet_ntop(AF_INET6, &address.sin6_addr, text, TEXT_BYTES)
    return (text.decode("ascii"), <int>ntohs(address.sin6_port),
            ntohl(address.sin6_flowinfo), address.sin6_scope_id)


def name_of(ask):
    """A socket's own name or its peer's; None where there is none."""
    name = None
    try:
        name = ask()
    except OSError:
        pass
    return name
