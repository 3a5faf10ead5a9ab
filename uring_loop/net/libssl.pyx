"""The functions of the libssl that Python's `_ssl` has loaded, called at run time.

What tls_trust.py needs to prove a pointer before a connection may rest on it is here as
Python functions. They take addresses as numbers. Those that read memory cannot crash;
those that call OpenSSL can, if the address is not that of an `SSL`.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from libc.errno cimport EFAULT, errno
from libc.stdint cimport uintptr_t
from posix.unistd cimport getpid

import os

from uring_loop.driver.libc cimport iovec, process_vm_readv

cdef openssl_calls calls
cdef bint complete = False


def load(path):
    """Find the functions. Returns None, or the name of what is missing."""
    global complete
    cdef bytes name = os.fsencode(path)
    cdef const char *missing = openssl_find(name, &calls)
    complete = missing == NULL
    return None if complete else missing.decode()


cdef openssl_calls *loaded_calls() except NULL:
    if not complete:
        raise RuntimeError("the functions of libssl are not loaded")
    return &calls


# ---- reading memory


cdef void *pointer_at(object holder, Py_ssize_t offset) except? NULL:
    """A pointer within an object, whose size is checked."""
    cdef void *pointer
    if not 0 <= offset <= type(holder).__basicsize__ - <Py_ssize_t>sizeof(pointer):
        raise ValueError("the object is too small")
    return (<void **>(<char *><PyObject *>holder + offset))[0]


def pointer_in(holder, offset):
    """The same as a number."""
    return <uintptr_t>pointer_at(holder, offset)


def read_memory(address, Py_ssize_t size):
    """A copy of memory of this process; OSError(EFAULT) where there is none."""
    cdef bytes copy = PyBytes_FromStringAndSize(NULL, size)
    cdef iovec here
    cdef iovec there
    cdef ssize_t count
    here.iov_base = PyBytes_AS_STRING(copy)
    here.iov_len = size
    there.iov_base = <void *><uintptr_t>address
    there.iov_len = size
    # The kernel copies: a wrong address is an error, not a signal.
    count = process_vm_readv(getpid(), &here, 1, &there, 1, 0)
    if count != size:
        number = errno if count < 0 else EFAULT
        raise OSError(number, os.strerror(number))
    return copy


# ---- calls for proofs


def version():
    return loaded_calls().OpenSSL_version(0).decode()


def client_method():
    """The address of libssl's table of methods for clients."""
    return <uintptr_t>loaded_calls().TLS_client_method()


def method_of(address):
    return <uintptr_t>loaded_calls().SSL_get_ssl_method(<void *><uintptr_t>address)


def owner_of(address):
    """The address of the `_ssl._SSLSocket`, which it keeps in its SSL."""
    return <uintptr_t>loaded_calls().SSL_get_ex_data(<void *><uintptr_t>address, 0)


def verify_mode_of(address):
    return loaded_calls().SSL_get_verify_mode(<void *><uintptr_t>address)


def bios_of(address):
    """The addresses of the BIOs for reading and for writing."""
    cdef void *ssl = <void *><uintptr_t>address
    return (<uintptr_t>loaded_calls().SSL_get_rbio(ssl),
            <uintptr_t>loaded_calls().SSL_get_wbio(ssl))


def write_to_bio(address, bytes data):
    return loaded_calls().BIO_write(
        <void *><uintptr_t>address, PyBytes_AS_STRING(data), <int>len(data))


def pending_in_bio(address):
    return loaded_calls().BIO_ctrl_pending(<void *><uintptr_t>address)


def fail_to_read(address):
    """Read from a connection that has received nonsense. The error stays in the queue
    of OpenSSL; returns whether this library has it there."""
    cdef char byte
    cdef size_t count = 0
    loaded_calls().ERR_clear_error()
    loaded_calls().SSL_read_ex(<void *><uintptr_t>address, &byte, 1, &count)
    return loaded_calls().ERR_peek_error() != 0


def has_error():
    return loaded_calls().ERR_peek_error() != 0
