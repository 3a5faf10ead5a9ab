/* Connection churn: connect, exchange one request, close, and start again. */
#define _GNU_SOURCE
#include "churn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

/* A closed connection holds its port for a minute: 250 source addresses give
 * 250 times the ports, so that a run never waits for one. */
static uint32_t next_source(void)
{
	static unsigned turn;

	turn = (turn + 1) % 250;
	return htonl(0x7f000002u + turn);
}

static int churn_connect(struct target *target, struct connection *connection)
{
	struct sockaddr_in source = { .sin_family = AF_INET };
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT,
				     .data.ptr = connection };
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	connection->fd = fd;
	connection->waits_for_room = true;
	source.sin_addr.s_addr = next_source();
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&target->address,
		    target->address_bytes) < 0 && errno != EINPROGRESS)
		return -errno;
	if (epoll_ctl(target->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	return target->protocol == PROTOCOL_TLS ? tls_attach(target, connection) : 0;
}

int churn_start(struct target *target, struct connection *connection, uint64_t now_ns)
{
	connection->oldest = 0;
	connection->outstanding = 1;
	connection->sent_at_ns[0] = now_ns;
	connection->received_bytes = 0;
	connection->send_offset = 0;
	connection->unsent_bytes = target->send_bytes;
	return churn_connect(target, connection);
}

bool churn_finish(struct target *target, struct connection *connection)
{
	bool resumed = !connection->ssl || tls_detach(target, connection);

	close(connection->fd);
	connection->fd = -1;
	connection->outstanding = 0;
	return resumed;
}
