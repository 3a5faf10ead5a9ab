/* Finds OpenSSL's functions at run time, in the library that is already loaded.
 *
 * Nothing is linked and no header of OpenSSL is needed: the package must use the very
 * library that Python's _ssl uses, and no other. All functions are of OpenSSL 1.1.1's
 * public interface, and unchanged in 3.x.
 */
#ifndef OPENSSL_CALLS_H
#define OPENSSL_CALLS_H

#include <dlfcn.h>
#include <stddef.h>

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_method_st SSL_METHOD;
typedef struct bio_st BIO;
typedef struct bio_method_st BIO_METHOD;

enum {
	SSL_ERROR_WANT_READ = 2,
	SSL_ERROR_WANT_WRITE = 3,
	BIO_TYPE_SOURCE_SINK = 0x0400,
	BIO_CTRL_PENDING = 10,
	BIO_CTRL_FLUSH = 11,
	BIO_CTRL_DUP = 12,
	BIO_CTRL_WPENDING = 13,
	BIO_FLAGS_READ = 0x01,
	BIO_FLAGS_RETRY_MASK = 0x0f,
	BIO_FLAGS_SHOULD_RETRY = 0x08,
};

/* One line for each function: result, name, arguments. */
#define OPENSSL_FUNCTIONS(DO) \
	DO(const char *, OpenSSL_version, (int kind)) \
	DO(unsigned long, ERR_peek_error, (void)) \
	DO(void, ERR_clear_error, (void)) \
	DO(int, SSL_read_ex, (SSL *, void *, size_t, size_t *)) \
	DO(int, SSL_write_ex, (SSL *, const void *, size_t, size_t *)) \
	DO(int, SSL_get_error, (const SSL *, int)) \
	DO(int, SSL_pending, (const SSL *)) \
	DO(BIO *, SSL_get_rbio, (const SSL *)) \
	DO(BIO *, SSL_get_wbio, (const SSL *)) \
	DO(void, SSL_set_bio, (SSL *, BIO *, BIO *)) \
	DO(void *, SSL_get_ex_data, (const SSL *, int)) \
	DO(const SSL_METHOD *, SSL_get_ssl_method, (const SSL *)) \
	DO(const SSL_METHOD *, TLS_client_method, (void)) \
	DO(int, SSL_get_verify_mode, (const SSL *)) \
	DO(BIO_METHOD *, BIO_meth_new, (int, const char *)) \
	DO(int, BIO_meth_set_read, (BIO_METHOD *, int (*)(BIO *, char *, int))) \
	DO(int, BIO_meth_set_write, (BIO_METHOD *, int (*)(BIO *, const char *, int))) \
	DO(int, BIO_meth_set_ctrl, (BIO_METHOD *, long (*)(BIO *, int, long, void *))) \
	DO(int, BIO_meth_set_destroy, (BIO_METHOD *, int (*)(BIO *))) \
	DO(int, BIO_get_new_index, (void)) \
	DO(BIO *, BIO_new, (const BIO_METHOD *)) \
	DO(int, BIO_free, (BIO *)) \
	DO(int, BIO_up_ref, (BIO *)) \
	DO(void, BIO_set_data, (BIO *, void *)) \
	DO(void *, BIO_get_data, (BIO *)) \
	DO(void, BIO_set_init, (BIO *, int)) \
	DO(int, BIO_read, (BIO *, void *, int)) \
	DO(int, BIO_write, (BIO *, const void *, int)) \
	DO(size_t, BIO_ctrl_pending, (BIO *)) \
	DO(void, BIO_set_flags, (BIO *, int)) \
	DO(void, BIO_clear_flags, (BIO *, int)) \
	DO(int, BIO_test_flags, (const BIO *, int))

#define OPENSSL_POINTER(result, name, arguments) result (*name) arguments;
struct openssl_calls {
	OPENSSL_FUNCTIONS(OPENSSL_POINTER)
};
#undef OPENSSL_POINTER

/* Look up every function among those of the shared object at `path` and of the
 * libraries that it was linked with. The object must be loaded already. Returns NULL,
 * or the name of what was not found: `path` itself, or a function. */
static inline const char *openssl_find(const char *path, struct openssl_calls *calls)
{
	void *object = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
	const char *missing = NULL;

	if (object == NULL)
		return path;
	/* dlsym() returns functions as `void *`, which ISO C cannot convert. */
#define OPENSSL_LOOK_UP(result, name, arguments) \
	*(void **)&calls->name = dlsym(object, #name); \
	if (calls->name == NULL && missing == NULL) \
		missing = #name;
	OPENSSL_FUNCTIONS(OPENSSL_LOOK_UP)
#undef OPENSSL_LOOK_UP
	/* The object stays loaded: it is an extension module. */
	dlclose(object);
	return missing;
}

#endif
