/* Open a target's connections and move bytes on them; see target.h. */
#define _GNU_SOURCE
#include "target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_SECONDS = 5 };

int target_set_address(struct target *target, const char *host, int port)
{
	struct sockaddr_in *inet = (struct sockaddr_in *)&target->address;
	struct sockaddr_un *path = (struct sockaddr_un *)&target->address;

	memset(&target->address, 0, sizeof target->address);
	if (target->protocol == PROTOCOL_UNIX) {
		if (strlen(host) >= sizeof path->sun_path)
			return -ENAMETOOLONG;
		path->sun_family = AF_UNIX;
		strcpy(path->sun_path, host);
		target->address_bytes = sizeof *path;
		return 0;
	}
	inet->sin_family = AF_INET;
	inet->sin_port = htons((uint16_t)port);
	if (inet_pton(AF_INET, host, &inet->sin_addr) != 1)
		return -EINVAL;
	/* Load stays on this machine, whatever the command line says. */
	if (ntohl(inet->sin_addr.s_addr) >> 24 != 127)
		return -EADDRNOTAVAIL;
	target->address_bytes = sizeof *inet;
	return 0;
}

#ifdef WITH_TLS
int tls_attach(struct target *target, struct connection *connection)
{
	if (!target->ssl_ctx)
		target->ssl_ctx = SSL_CTX_new(TLS_client_method());
	if (!target->ssl_ctx)
		return -ENOMEM;
	SSL_CTX_set_mode(target->ssl_ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	connection->ssl = SSL_new(target->ssl_ctx);
	if (!connection->ssl || !SSL_set_fd(connection->ssl, connection->fd))
		return -ENOMEM;
	connection->offers = target->session != NULL;
	if (connection->offers && !SSL_set_session(connection->ssl, target->session))
		return -ENOMEM;
	SSL_set_connect_state(connection->ssl);
	return 0;
}

bool tls_detach(struct target *target, struct connection *connection)
{
	bool resumed = !connection->offers || SSL_session_reused(connection->ssl);
	SSL_SESSION *session = SSL_get1_session(connection->ssl);

	/* With TLS 1.3 only that of a ticket, which comes behind the handshake. */
	if (target->resumes && SSL_SESSION_is_resumable(session)) {
		SSL_SESSION_free(target->session);
		target->session = session;
	} else {
		SSL_SESSION_free(session);
	}
	/* A session without this end may not be resumed. */
	SSL_set_shutdown(connection->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(connection->ssl);
	connection->ssl = NULL;
	return resumed;
}

static int start_tls(struct target *target, struct connection *connection)
{
	int error = tls_attach(target, connection);

	/* The socket still blocks here, so one call is the whole handshake. */
	return error || SSL_connect(connection->ssl) == 1 ? error : -EPROTO;
}

/* -EAGAIN where it waits for room, -EINPROGRESS where it waits for the peer. */
static long tls_result(SSL *ssl, int result)
{
	switch (SSL_get_error(ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return -EINPROGRESS;
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return -EPIPE;
	default:
		return -EPROTO;
	}
}
#else
int tls_attach(struct target *target, struct connection *connection)
{
	(void)target;
	(void)connection;
	return -EPROTONOSUPPORT;
}

bool tls_detach(struct target *target, struct connection *connection)
{
	(void)target;
	(void)connection;
	return true;
}
#endif

static int exchange_preface(int fd, const char *preface)
{
	size_t length = strlen(preface), matched = 0;
	char byte;

	if (write(fd, preface, length) != (ssize_t)length)
		return -EIO;
	/* Bytewise, so that nothing after the header is swallowed. */
	while (matched < 4) {
		if (read(fd, &byte, 1) != 1)
			return -EPIPE;
		if (byte == "\r\n\r\n"[matched])
			matched++;
		else
			matched = byte == '\r';
	}
	return 0;
}

static int connection_open(struct target *target, struct connection *connection)
{
	int kind = target->protocol == PROTOCOL_UDP ? SOCK_DGRAM : SOCK_STREAM;
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = connection };
	struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
	int fd = socket(target->address.ss_family, kind | SOCK_CLOEXEC, 0), one = 1;
	int error = 0;

	if (fd < 0)
		return -errno;
	connection->fd = fd;
	/* A server that is stuck must not stop the client in a handshake. */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (connect(fd, (struct sockaddr *)&target->address, target->address_bytes))
		return -errno;
	if (target->protocol == PROTOCOL_TCP || target->protocol == PROTOCOL_TLS)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
#ifdef WITH_TLS
	if (target->protocol == PROTOCOL_TLS)
		error = start_tls(target, connection);
#else
	if (target->protocol == PROTOCOL_TLS)
		error = -EPROTONOSUPPORT;
#endif
	if (!error && target->preface)
		error = exchange_preface(fd, target->preface);
	if (error)
		return error;
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	if (epoll_ctl(target->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	return 0;
}

int target_open(struct target *target, const char **why)
{
	unsigned i;
	int error;

	*why = "out of memory or file descriptors";
	target->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (target->epoll_fd < 0)
		return -errno;
	target->connections = calloc(target->connections_count,
				     sizeof *target->connections);
	if (!target->connections)
		return -ENOMEM;
	for (i = 0; i < target->connections_count; i++)
		target->connections[i].fd = -1;
	for (i = 0; i < target->connections_count; i++) {
		error = connection_open(target, &target->connections[i]);
		if (error) {
			*why = "connect or handshake failed";
			return error;
		}
	}
	return 0;
}

void target_close(struct target *target)
{
	unsigned i;

	for (i = 0; target->connections && i < target->connections_count; i++) {
#ifdef WITH_TLS
		SSL_free(target->connections[i].ssl);
#endif
		if (target->connections[i].fd >= 0)
			close(target->connections[i].fd);
	}
#ifdef WITH_TLS
	SSL_SESSION_free(target->session);
	SSL_CTX_free(target->ssl_ctx);
#endif
	if (target->epoll_fd >= 0)
		close(target->epoll_fd);
	free(target->connections);
	free(target->payload);
	free(target->preface);
}

static int watch_room(struct target *target, struct connection *connection, bool on)
{
	struct epoll_event event = {
		.events = on ? EPOLLIN | EPOLLOUT : EPOLLIN,
		.data.ptr = connection,
	};

	if (connection->waits_for_room == on)
		return 0;
	connection->waits_for_room = on;
	if (epoll_ctl(target->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event) < 0)
		return -errno;
	return 0;
}

static long send_some(struct connection *connection, const char *data, size_t size)
{
	ssize_t sent;

#ifdef WITH_TLS
	if (connection->ssl) {
		int result = SSL_write(connection->ssl, data, (int)size);

		return result > 0 ? result : tls_result(connection->ssl, result);
	}
#endif
	sent = send(connection->fd, data, size, MSG_NOSIGNAL);
	return sent >= 0 ? sent : -errno;
}

int connection_flush(struct target *target, struct connection *connection)
{
	/* A datagram is one request; a stream takes as many as are queued. */
	size_t limit = target->protocol == PROTOCOL_UDP ? target->send_bytes
							: target->payload_bytes;
	size_t size;
	long sent;

	while (connection->unsent_bytes) {
		size = target->payload_bytes - connection->send_offset;
		if (size > connection->unsent_bytes)
			size = connection->unsent_bytes;
		if (size > limit)
			size = limit;
		sent = send_some(connection, target->payload + connection->send_offset,
				 size);
		if (sent == -EAGAIN || sent == -EINPROGRESS)
			return watch_room(target, connection, sent == -EAGAIN);
		if (sent < 0)
			return (int)sent;
		connection->unsent_bytes -= (size_t)sent;
		connection->send_offset += (size_t)sent;
		if (connection->send_offset == target->payload_bytes)
			connection->send_offset = 0;
	}
	return watch_room(target, connection, false);
}

int connection_queue(struct target *target, struct connection *connection,
		     unsigned requests_count, uint64_t now_ns)
{
	unsigned slot;

	while (requests_count--) {
		slot = (connection->oldest + connection->outstanding++) % DEPTH_MAX;
		connection->sent_at_ns[slot] = now_ns;
		connection->unsent_bytes += target->send_bytes;
	}
	/* While EPOLLOUT is on, the next event flushes. */
	return connection->waits_for_room ? 0 : connection_flush(target, connection);
}

long connection_receive(struct connection *connection, char *buffer, size_t size)
{
	ssize_t received;

#ifdef WITH_TLS
	if (connection->ssl) {
		int result = SSL_read(connection->ssl, buffer, (int)size);
		long code = result > 0 ? result : tls_result(connection->ssl, result);

		return code == -EAGAIN || code == -EINPROGRESS ? 0 : code;
	}
#endif
	received = recv(connection->fd, buffer, size, 0);
	if (received == 0)
		return -EPIPE;
	if (received < 0)
		return errno == EAGAIN ? 0 : -errno;
	return received;
}
