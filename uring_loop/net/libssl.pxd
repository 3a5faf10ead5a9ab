# Pointers to OpenSSL's own types are `void *` here.

cdef extern from "openssl_calls.h" nogil:
    struct openssl_calls:
        const char *(*OpenSSL_version)(int kind) noexcept
        unsigned long (*ERR_peek_error)() noexcept
        void (*ERR_clear_error)() noexcept
        int (*SSL_read_ex)(void *ssl, void *to, size_t size, size_t *count) noexcept
        int (*SSL_write_ex)(
            void *ssl, const void *data, size_t size, size_t *count) noexcept
        int (*SSL_get_error)(void *ssl, int result) noexcept
        int (*SSL_pending)(void *ssl) noexcept
        void *(*SSL_get_rbio)(void *ssl) noexcept
        void *(*SSL_get_wbio)(void *ssl) noexcept
        void *(*SSL_get_ex_data)(void *ssl, int index) noexcept
        const void *(*SSL_get_ssl_method)(void *ssl) noexcept
        const void *(*TLS_client_method)() noexcept
        int (*SSL_get_verify_mode)(void *ssl) noexcept
        int (*BIO_write)(void *bio, const void *data, int size) noexcept
        size_t (*BIO_ctrl_pending)(void *bio) noexcept
    const char *openssl_find(const char *path, openssl_calls *calls)
    enum:
        SSL_ERROR_WANT_READ
        SSL_ERROR_WANT_WRITE


cdef openssl_calls *loaded_calls() except NULL
cdef void *pointer_at(object holder, Py_ssize_t offset) except? NULL
