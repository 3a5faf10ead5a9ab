cdef struct RawName:
    # A sockaddr of AF_INET or AF_INET6; family 0: none.
    unsigned short family
    unsigned short port
    unsigned int rest[6]


# 1: the name was stored; 0: the socket module must convert it; -1: there is no name.
cdef int take_sockname(int fd, RawName *name) noexcept
cdef int take_peername(int fd, RawName *name) noexcept
cdef int accept_named(int fd, RawName *name) noexcept
cdef object read_name(const RawName *name)


cdef class AddressBook:
    cdef int family
    cdef dict names
    cdef dict raws

    cdef object name(self, const char *raw, Py_ssize_t size)
    cdef bytes raw(self, address)
    cdef bytes parse(self, tuple address)
