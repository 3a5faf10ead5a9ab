/* A BIO through which OpenSSL reads received records in place and collects its output.
 *
 * It stands before the two memory BIOs that ssl.SSLObject was made with, and takes
 * their part while its owner lends it memory: `in` for a row of SSL_read, `out` for a
 * row of SSL_write. At all other times it only forwards to them. So each function of
 * ssl, such as unwrap(), works on the same connection at any time.
 *
 * Asking a memory BIO what it holds costs a hundred instructions, several times for
 * each message, and it is nearly always nothing. So `may_have_input` and
 * `may_have_output` are set where something is put there, and cleared where nothing was
 * found.
 *
 * Order: bytes in the memory BIO `older_in` are older than those at `in`. Output is
 * either at `out` or in `memory_out`.
 */
#ifndef OPENSSL_BIO_H
#define OPENSSL_BIO_H

#include <stdlib.h>
#include <string.h>

#include "openssl_calls.h"

struct lending_bio {
	BIO *older_in;
	BIO *memory_out;
	int may_have_input;
	int may_have_output;
	const char *in;
	size_t in_bytes;
	char *out;
	size_t out_bytes;
	size_t out_room;
};

/* Set by lending_bio_prepare(); only one file includes this header. */
static const struct openssl_calls *openssl;
static BIO_METHOD *lending_bio_method;

static size_t lending_bio_kept_input(struct lending_bio *self)
{
	size_t size = 0;

	if (self->may_have_input) {
		size = openssl->BIO_ctrl_pending(self->older_in);
		self->may_have_input = size > 0;
	}
	return size;
}

static size_t lending_bio_kept_output(struct lending_bio *self)
{
	size_t size = 0;

	if (self->may_have_output) {
		size = openssl->BIO_ctrl_pending(self->memory_out);
		self->may_have_output = size > 0;
	}
	return size;
}

static int lending_bio_keep_input(struct lending_bio *self, const char *from, int size)
{
	self->may_have_input = 1;
	return openssl->BIO_write(self->older_in, from, size);
}

static int lending_bio_keep_output(struct lending_bio *self, const char *from, int size)
{
	self->may_have_output = 1;
	return openssl->BIO_write(self->memory_out, from, size);
}

static int lending_bio_read(BIO *bio, char *to, int size)
{
	struct lending_bio *self = openssl->BIO_get_data(bio);
	int count = size;

	openssl->BIO_clear_flags(bio, BIO_FLAGS_RETRY_MASK);
	if (self->in_bytes == 0 || lending_bio_kept_input(self) > 0) {
		count = openssl->BIO_read(self->older_in, to, size);
		if (count <= 0 &&
		    openssl->BIO_test_flags(self->older_in, BIO_FLAGS_SHOULD_RETRY))
			openssl->BIO_set_flags(
				bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
		return count;
	}
	if ((size_t)count > self->in_bytes)
		count = (int)self->in_bytes;
	memcpy(to, self->in, count);
	self->in += count;
	self->in_bytes -= count;
	return count;
}

static int lending_bio_write(BIO *bio, const char *from, int size)
{
	struct lending_bio *self = openssl->BIO_get_data(bio);
	int count;

	openssl->BIO_clear_flags(bio, BIO_FLAGS_RETRY_MASK);
	if (size > 0 && (size_t)size <= self->out_room - self->out_bytes) {
		memcpy(self->out + self->out_bytes, from, size);
		self->out_bytes += size;
		return size;
	}
	if (self->out_bytes > 0) {
		/* No room: all of it goes to one place, or the order would be lost. */
		count = (int)self->out_bytes;
		if (lending_bio_keep_output(self, self->out, count) != count)
			return -1;
		self->out_bytes = 0;
	}
	self->out_room = 0;
	return lending_bio_keep_output(self, from, size);
}

static long lending_bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	struct lending_bio *self = openssl->BIO_get_data(bio);

	(void)number;
	(void)pointer;
	switch (command) {
	case BIO_CTRL_FLUSH:
	case BIO_CTRL_DUP:
		return 1;
	case BIO_CTRL_PENDING:
		return (long)(self->in_bytes + lending_bio_kept_input(self));
	case BIO_CTRL_WPENDING:
		return (long)(self->out_bytes + lending_bio_kept_output(self));
	default:
		/* Among them: no descriptor, no kTLS. */
		return 0;
	}
}

static int lending_bio_destroy(BIO *bio)
{
	struct lending_bio *self = openssl->BIO_get_data(bio);

	if (self != NULL) {
		openssl->BIO_free(self->older_in);
		openssl->BIO_free(self->memory_out);
		free(self);
		openssl->BIO_set_data(bio, NULL);
	}
	return 1;
}

/* Make the method that all connections share; false without memory. */
static int lending_bio_prepare(const struct openssl_calls *calls)
{
	BIO_METHOD *method;
	int kind;

	if (lending_bio_method != NULL)
		return 1;
	openssl = calls;
	kind = openssl->BIO_get_new_index();
	if (kind == -1)
		return 0;
	method = openssl->BIO_meth_new(kind | BIO_TYPE_SOURCE_SINK, "lent memory");
	if (method == NULL)
		return 0;
	openssl->BIO_meth_set_read(method, lending_bio_read);
	openssl->BIO_meth_set_write(method, lending_bio_write);
	openssl->BIO_meth_set_ctrl(method, lending_bio_ctrl);
	openssl->BIO_meth_set_destroy(method, lending_bio_destroy);
	lending_bio_method = method;
	return 1;
}

/* Put a new BIO before those of `ssl`, which owns it from then on. The result lives as
 * long as `ssl`; NULL without memory, and nothing has changed. */
static struct lending_bio *lending_bio_install(SSL *ssl)
{
	struct lending_bio *self = calloc(1, sizeof(*self));
	BIO *bio = openssl->BIO_new(lending_bio_method);

	if (self == NULL || bio == NULL) {
		free(self);
		if (bio != NULL)
			openssl->BIO_free(bio);
		return NULL;
	}
	self->older_in = openssl->SSL_get_rbio(ssl);
	self->memory_out = openssl->SSL_get_wbio(ssl);
	self->may_have_input = 1;
	self->may_have_output = 1;
	/* SSL_set_bio() releases the references of `ssl` to its BIOs. */
	openssl->BIO_up_ref(self->older_in);
	openssl->BIO_up_ref(self->memory_out);
	openssl->BIO_set_data(bio, self);
	openssl->BIO_set_init(bio, 1);
	openssl->SSL_set_bio(ssl, bio, bio);
	return self;
}

#endif
