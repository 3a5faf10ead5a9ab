"""Sends bytes on a stream socket and keeps, in order, what it did not take."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport errno
from libc.string cimport memset

import collections

from uring_loop.driver.libc cimport (
    MSG_DONTWAIT, MSG_NOSIGNAL, iovec, msghdr, send, sendmsg)

cdef enum:
    # Chunks handed to one sendmsg(2); the kernel's limit is 1024.
    GATHER_MOST = 64
    # Copying more takes long enough to let other threads run.
    LONG_BYTES = 262144


cdef Py_ssize_t send_bytes(int fd, const char *data, Py_ssize_t size) noexcept:
    """One send(2): how many bytes the socket took, or -errno."""
    # Cannot raise: the result tells all.
    cdef ssize_t sent
    if size < LONG_BYTES:
        sent = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT)
    else:
        with nogil:
            sent = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT)
    return sent if sent >= 0 else -errno


@cython.final
cdef class Backlog:
    """Chunks of bytes objects, sent from the front without being joined."""

    def __cinit__(self):
        self.chunks = collections.deque()

    cdef int append(self, bytes data, Py_ssize_t sent) except -1:
        """Keep `data` but for its first `sent` bytes, which only the first may have."""
        assert not sent or not self.chunks
        self.chunks.append(data)
        if sent:
            self.offset = sent
        self.bytes_count += PyBytes_GET_SIZE(data) - sent
        return 0

    cdef Py_ssize_t send(self, int fd) except? -1:
        """One sendmsg(2): how many bytes it took, or -errno."""
        cdef iovec vector[GATHER_MOST]
        cdef msghdr message
        cdef ssize_t sent
        cdef int count = 0
        cdef bytes chunk
        cdef Py_ssize_t skip = self.offset
        for chunk in self.chunks:
            if count == GATHER_MOST:
                break
            vector[count].iov_base = PyBytes_AS_STRING(chunk) + skip
            vector[count].iov_len = PyBytes_GET_SIZE(chunk) - skip
            skip = 0
            count += 1
        memset(&message, 0, sizeof(message))
        message.msg_iov = vector
        message.msg_iovlen = count
        if self.bytes_count < LONG_BYTES:
            sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT)
        else:
            with nogil:
                sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT)
        if sent < 0:
            return -errno
        self.drop(sent)
        return sent

    cdef int drop(self, Py_ssize_t sent) except -1:
        cdef bytes chunk
        self.bytes_count -= sent
        sent += self.offset
        self.offset = 0
        while sent:
            chunk = self.chunks[0]
            if PyBytes_GET_SIZE(chunk) > sent:
                self.offset = sent
                break
            sent -= PyBytes_GET_SIZE(chunk)
            self.chunks.popleft()
        return 0
