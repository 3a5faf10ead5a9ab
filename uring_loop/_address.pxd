cdef class AddressBook:
    cdef int family
    cdef dict names
    cdef dict raws

    cdef object name(self, const char *raw, Py_ssize_t size)
    cdef bytes raw(self, address)
    cdef bytes parse(self, tuple address)
