# Declarations of CPython's C API that Cython does not have. No other file repeats them.

from cpython.object cimport PyObject

cdef extern from "Python.h":
    object PyContext_CopyCurrent()
    object PyContext_Copy(PyObject *context)
    int PyContext_Enter(PyObject *context) except -1
    # For callers that check the result: -1 with an exception set.
    int PyContext_Enter_raw "PyContext_Enter" (PyObject *context)
    # Fails only if the context is not the one that was entered last. Only the callback
    # of a handle can cause that, and run_handle() checks the result.
    int PyContext_Exit(PyObject *context)

    # Called directly: Cython's call syntax would test the callee's type each time.
    object PyObject_CallNoArgs(object callback)
    PyObject *PyDict_GetItemWithError(object d, object key) except? NULL
    object PyObject_CallOneArg(object callback, object argument)
    # Results are pointers, checked by the caller: Cython's `try` would save and restore
    # the thread's exception state at each call.
    PyObject *PyObject_CallNoArgs_raw "PyObject_CallNoArgs" (PyObject *callback)
    PyObject *PyObject_Call_raw "PyObject_Call" (
        PyObject *callback, PyObject *args, PyObject *kwargs)
    PyObject *PyObject_CallMethodOneArg(
        PyObject *self, PyObject *name, PyObject *argument)

    unsigned long PyThread_get_thread_ident()

    int PyObject_GenericSetAttr(
        PyObject *self, PyObject *name, PyObject *value) except -1
    # Cannot fail for a class whose instances have a dictionary.
    PyObject **_PyObject_GetDictPtr(object)
    void Py_CLEAR(PyObject *)
    Py_ssize_t Py_REFCNT(PyObject *)
    ctypedef struct PyListObject:
        PyObject **ob_item
    # The callback may be None.
    object PyWeakref_NewRef(object target, object callback)
    PyObject *PyBytes_FromStringAndSize_raw "PyBytes_FromStringAndSize" (
        const char *data, Py_ssize_t size)
    void PyErr_CheckSignals() except *
    int PySys_Audit(const char *event, const char *format, ...) except -1
    int _PyBytes_Resize(PyObject **bytes, Py_ssize_t size) except -1
    enum:
        PyBUF_WRITE

cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    #define URING_FREE_THREADED 1
    #else
    #define URING_FREE_THREADED 0
    #endif
    """
    enum:
        # Is this a free-threaded Python? Known to the compiler, which leaves out code.
        FREE_THREADED "URING_FREE_THREADED"
