/* The load client's connections to one server: opening, sending, receiving. */
#ifndef TARGET_H
#define TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#ifdef WITH_TLS
#include <openssl/ssl.h>
#else
typedef struct no_ssl SSL;
typedef struct no_ssl_ctx SSL_CTX;
typedef struct no_ssl_session SSL_SESSION;
#endif

enum { DEPTH_MAX = 64 };

enum protocol { PROTOCOL_TCP, PROTOCOL_UNIX, PROTOCOL_UDP, PROTOCOL_TLS };

struct connection {
	int fd;
	SSL *ssl;
	bool offers;		/* a session to be resumed */
	bool waits_for_room;	/* EPOLLOUT is on */
	size_t unsent_bytes;
	size_t send_offset;	/* into the payload, which repeats */
	size_t received_bytes;	/* of the reply now arriving */
	unsigned outstanding;	/* requests without their whole reply */
	unsigned oldest;	/* slot in sent_at_ns of the oldest request */
	uint64_t sent_at_ns[DEPTH_MAX];
};

struct target {
	enum protocol protocol;
	struct sockaddr_storage address;
	socklen_t address_bytes;
	int epoll_fd;
	SSL_CTX *ssl_ctx;
	bool resumes;		/* the handshakes of churn resume `session` */
	SSL_SESSION *session;
	size_t send_bytes;	/* one request */
	size_t reply_bytes;	/* its whole reply */
	unsigned depth;		/* requests in flight on one connection */
	char *payload;		/* `depth` requests in a row */
	size_t payload_bytes;
	unsigned connections_count;
	struct connection *connections;
	char *preface;		/* sent once per connection, NULL for none */
};

/* All return 0 or -errno. `why` receives a short reason for a failure. */
int target_set_address(struct target *target, const char *host, int port);
int target_open(struct target *target, const char **why);
void target_close(struct target *target);

/* Attach a new SSL to the socket; it shakes hands when it is first used. */
int tls_attach(struct target *target, struct connection *connection);
/* Free the SSL and keep its session; false if it should have resumed one. */
bool tls_detach(struct target *target, struct connection *connection);

int connection_queue(struct target *target, struct connection *connection,
		     unsigned requests_count, uint64_t now_ns);
int connection_flush(struct target *target, struct connection *connection);

/* Bytes received, 0 for "nothing now", -errno (-EPIPE when the peer ended). */
long connection_receive(struct connection *connection, char *buffer, size_t size);

#endif
