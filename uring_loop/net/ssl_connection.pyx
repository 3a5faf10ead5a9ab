"""Encrypts and decrypts on the `SSL` of an ssl.SSLObject, without Python's `ssl`.

ssl makes the object and shakes hands. Then its BIOs are put behind one of ours
(openssl_bio.h), and the bytes of the application pass through SSL_read_ex() and
SSL_write_ex() here. All else stays with ssl, whose calls still work on the same `SSL`.

Errors too: where a call fails for another reason than missing input, the same call is
made through ssl. OpenSSL repeats its failure, and its error is still in the queue, so
that ssl raises what it always raises. tls_trust.py proves that, once in a process.

The GIL is held: a call takes some microseconds for each 16 KiB, and releasing it twice
for each message was a good part of the cost of ssl. So no other thread can use the
`SSL` meanwhile, except in a call of ssl that releases the GIL itself.
"""

cimport cython
from cpython.buffer cimport PyBUF_READ
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE)
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.string cimport memcpy

from uring_loop.driver.capi cimport (
    PyBytes_FromStringAndSize_raw, _PyBytes_Resize)
from uring_loop.net.gather cimport BULK_WRITE_BYTES
from uring_loop.net.libssl cimport (
    SSL_ERROR_WANT_READ, loaded_calls, openssl_calls, pointer_at)

cdef extern from "openssl_bio.h":
    struct lending_bio:
        bint may_have_input
        const char *in_memory "in"
        size_t in_bytes
        char *out
        size_t out_bytes
        size_t out_room
    bint lending_bio_prepare(openssl_calls *calls)
    lending_bio *lending_bio_install(void *ssl)
    size_t lending_bio_kept_input(lending_bio *self)
    size_t lending_bio_kept_output(lending_bio *self)
    int lending_bio_keep_input(lending_bio *self, const char *data, int size)
    int lending_bio_keep_output(lending_bio *self, const char *data, int size)

cdef enum:
    # The most plaintext of one record.
    RECORD_BYTES = 16384
    # Short messages are decrypted on the stack: a copy is cheaper than to shrink.
    SHORT_BYTES = 4096
    # What a record has beside the plaintext: header, nonce, code and padding are no
    # more than 85 bytes with any cipher. A peer may have asked for shorter records.
    RECORD_OVERHEAD = 88
    OUTPUT_BYTES = 262144
    FREED_BYTES = 1048576
    # In an `ssl.MemoryBIO`: as in tls_trust.py.
    BIO_OFFSET = 16


@cython.final
cdef class OutputMemory:
    """Where the records of a loop's connections are collected, always hot."""

    def __cinit__(self):
        self.start = <char *>PyMem_Malloc(OUTPUT_BYTES)
        if self.start == NULL:
            raise MemoryError
        # glibc keeps twice the largest block that was mapped and freed. Without this,
        # it gives the memory of each read of 64 KiB back to the kernel, and the next
        # one has a page fault for each 4 KiB.
        PyMem_Free(PyMem_Malloc(FREED_BYTES))

    def __dealloc__(self):
        PyMem_Free(self.start)


# The garbage collector must not take `raw`: calls with `ssl` would read freed memory.
@cython.no_gc_clear
@cython.final
cdef class SSLConnection:
    """The data of one connection, after its handshake.

    raw       the `_ssl._SSLSocket`, whose `SSL` is at `offset` within it
    incoming, outgoing  the ssl.MemoryBIO objects that it was made with
    output    of the loop

    Raises ValueError if these do not belong together.
    """

    def __cinit__(self, raw, Py_ssize_t offset, incoming, outgoing,
                  OutputMemory output):
        cdef openssl_calls *calls = loaded_calls()
        cdef void *ssl = pointer_at(raw, offset)
        if ssl == NULL or calls.SSL_get_ex_data(ssl, 0) != <PyObject *>raw:
            raise ValueError("this SSL belongs to another object")
        if (calls.SSL_get_rbio(ssl) != pointer_at(incoming, BIO_OFFSET)
                or calls.SSL_get_wbio(ssl) != pointer_at(outgoing, BIO_OFFSET)):
            raise ValueError("this SSL has other BIOs")
        if not lending_bio_prepare(calls):
            raise MemoryError
        self.lent = lending_bio_install(ssl)
        if self.lent == NULL:
            raise MemoryError
        self.calls = calls
        self.ssl = ssl
        self.raw = raw
        self.output = output

    cdef Py_ssize_t kept_input(self) noexcept:
        """How many received bytes ssl's own BIO holds. Plain calls: cannot raise."""
        return lending_bio_kept_input(<lending_bio *>self.lent)

    cdef Py_ssize_t kept_output(self) noexcept:
        """How many bytes of records ssl's own BIO holds. Plain calls: cannot raise."""
        return lending_bio_kept_output(<lending_bio *>self.lent)

    # ---- reading

    cdef int look_for_input(self) noexcept:
        """ssl's own BIO may have been written to by others."""
        # A store: cannot raise.
        (<lending_bio *>self.lent).may_have_input = True
        return 0

    cdef int keep_input(self, const char *data, Py_ssize_t size) except -1:
        """Received bytes wait in ssl's own BIO."""
        if size and lending_bio_keep_input(
                <lending_bio *>self.lent, data, <int>size) != size:
            raise MemoryError
        return 0

    cdef bytes decrypt(self, const char *data, Py_ssize_t size):
        """All plaintext up to the end of `data`, or None."""
        cdef lending_bio *lent = <lending_bio *>self.lent
        lent.in_memory = data
        lent.in_bytes = size
        try:
            return self.read()
        finally:
            size = lent.in_bytes
            lent.in_bytes = 0
            # Behind close_notify, or after an error.
            if size:
                self.keep_input(lent.in_memory, size)

    cdef bytes read(self):
        """All plaintext of what has been received, or None. Sets `ended`."""
        cdef char short_memory[SHORT_BYTES]
        cdef PyObject *data = NULL
        cdef Py_ssize_t size
        cdef bint more = True
        # Plaintext is never longer than its records, but the beginning of the first may
        # have been read before.
        cdef Py_ssize_t room = (<lending_bio *>self.lent).in_bytes + self.kept_input()
        if room > SHORT_BYTES:
            size = 0
        else:
            size = self.fill(short_memory, SHORT_BYTES, &more)
            if not more:
                return (PyBytes_FromStringAndSize(short_memory, size) if size
                        else None)
            room = SHORT_BYTES + RECORD_BYTES
        data = PyBytes_FromStringAndSize_raw(NULL, room)
        if data == NULL:
            raise MemoryError
        try:
            memcpy(PyBytes_AS_STRING(<object>data), short_memory, size)
            while True:
                size += self.fill(
                    PyBytes_AS_STRING(<object>data) + size, room - size, &more)
                if not more:
                    break
                room += max(room, RECORD_BYTES)
                _PyBytes_Resize(&data, room)
            if size == 0:
                return None
            _PyBytes_Resize(&data, size)
            return <bytes>data
        finally:
            Py_XDECREF(data)

    cdef Py_ssize_t fill(self, char *to, Py_ssize_t size, bint *more) except -1:
        """Decrypt into memory. `more`: it is full, and there may be more to come."""
        cdef lending_bio *lent = <lending_bio *>self.lent
        cdef Py_ssize_t done = 0
        cdef size_t count = 0
        more[0] = False
        while True:
            self.forget_errors()
            if not self.calls.SSL_read_ex(self.ssl, to + done, size - done, &count):
                return done + self.read_failed(to + done, size - done)
            done += count
            if done == size:
                more[0] = (lent.in_bytes > 0 or self.kept_input() > 0
                           or self.calls.SSL_pending(self.ssl) > 0)
                return done
            # OpenSSL decrypts one record at a time, so it has no decrypted bytes left.
            if lent.in_bytes == 0 and self.kept_input() == 0:
                return done

    cdef Py_ssize_t read_failed(self, char *to, Py_ssize_t size) except -1:
        """No plaintext: is there none, or what does ssl say?"""
        cdef bytes data
        if self.calls.SSL_get_error(self.ssl, 0) == SSL_ERROR_WANT_READ:
            return 0
        data = self.raw.read(min(size, RECORD_BYTES))
        self.ended = not data
        memcpy(to, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        return PyBytes_GET_SIZE(data)

    cdef Py_ssize_t read_into(self, char *to, Py_ssize_t size) except -1:
        """Decrypt what has been received, as far as there is room. Sets `ended`."""
        cdef bint more
        return self.fill(to, size, &more)

    cdef int forget_errors(self) noexcept:
        # SSL_get_error() takes any error in the thread's queue for this call's own.
        # Plain calls: cannot raise.
        if self.calls.ERR_peek_error():
            self.calls.ERR_clear_error()
        return 0

    # ---- writing

    cdef Py_ssize_t write(self, const char *data, Py_ssize_t size) except -1:
        """Encrypt; how many bytes OpenSSL took.

        The records are behind those of the last calls: as a bytes object of their own
        if they are many, else in the loop's memory, if output_bytes() is not 0, else in
        ssl's own BIO. In that order they are sent. The caller sends or keeps what is in
        the loop's memory before anything else can run.
        """
        cdef lending_bio *lent = <lending_bio *>self.lent
        if size >= BULK_WRITE_BYTES and not (lent.out_bytes or self.kept_output()):
            return self.write_bulk(data, size)
        cdef bint collected = self.lend_output()
        cdef Py_ssize_t count = 0
        try:
            count = self.encrypt(data, size)
        except BaseException:
            self.take_output()
            if collected:
                self.output.busy = False
            raise
        if collected and lent.out_bytes == 0:
            self.output.busy = False
        lent.out_room = lent.out_bytes
        return count

    cdef Py_ssize_t write_bulk(self, const char *data, Py_ssize_t size) except -1:
        """The same into a bytes object, which the transport sends without a copy."""
        cdef lending_bio *lent = <lending_bio *>self.lent
        cdef Py_ssize_t count = 0
        cdef Py_ssize_t room = size + RECORD_OVERHEAD * (size // RECORD_BYTES + 1)
        cdef PyObject *records = PyBytes_FromStringAndSize_raw(NULL, room)
        if records == NULL:
            raise MemoryError
        try:
            lent.out = PyBytes_AS_STRING(<object>records)
            lent.out_room = room
            try:
                count = self.encrypt(data, size)
            finally:
                room = self.take_output()
            # Nothing, if the room was not enough: then all is in ssl's own BIO.
            if room:
                _PyBytes_Resize(&records, room)
                self.keep_chunk(<bytes>records)
        finally:
            Py_XDECREF(records)
        return count

    cdef Py_ssize_t encrypt(self, const char *data, Py_ssize_t size) except -1:
        cdef size_t count = 0
        self.forget_errors()
        if self.calls.SSL_write_ex(self.ssl, data, size, &count):
            return count
        if self.calls.SSL_get_error(self.ssl, 0) == SSL_ERROR_WANT_READ:
            return 0
        # Raises what it was. If not, memory was short, and OpenSSL (3.6) has left out
        # the record that needed it: no byte may follow.
        self.raw.write(PyMemoryView_FromMemory(<char *>data, size, PyBUF_READ))
        raise MemoryError

    cdef bint lend_output(self) noexcept:
        """Let records be collected in the loop's memory, if it is free."""
        # Plain calls: cannot raise.
        cdef lending_bio *lent = <lending_bio *>self.lent
        if not lent.out_bytes:
            if self.output.busy or self.kept_output():
                return False
            self.output.busy = True
            lent.out = self.output.start
        lent.out_room = OUTPUT_BYTES
        return True

    cdef Py_ssize_t output_bytes(self) noexcept:
        # A load: cannot raise.
        return (<lending_bio *>self.lent).out_bytes

    cdef Py_ssize_t take_output(self) noexcept:
        """The caller sends so many bytes at output.start, then sets it not busy."""
        # Stores: cannot raise.
        cdef lending_bio *lent = <lending_bio *>self.lent
        cdef Py_ssize_t size = lent.out_bytes
        lent.out_bytes = 0
        lent.out_room = 0
        return size

    cdef int keep_output(self) except -1:
        """Records that cannot be sent yet wait in ssl's own BIO."""
        cdef Py_ssize_t size = self.take_output()
        self.output.busy = False
        if lending_bio_keep_output(
                <lending_bio *>self.lent, self.output.start, <int>size) != size:
            raise MemoryError
        return 0

    cdef int keep_chunk(self, bytes records) except -1:
        if self.chunks is None:
            self.chunks = []
        self.chunks.append(records)
        self.chunk_bytes += PyBytes_GET_SIZE(records)
        return 0

    cdef list take_chunks(self):
        """The bytes objects that write() has made, to be sent before all else."""
        cdef list chunks = self.chunks
        self.chunks = None
        self.chunk_bytes = 0
        return chunks
