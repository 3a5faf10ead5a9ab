/* Load client: drives one of several open targets for a slice of time on command.
 *
 * Lines on stdin, one JSON line on stdout for each:
 *   open ID PROTOCOL HOST PORT CONNECTIONS SEND REPLY DEPTH PAYLOAD PREFACE
 *   slice ID MILLISECONDS VERIFY       close ID
 * PROTOCOL is tcp, unix, udp, tls or churn. PAYLOAD is a file with one request, or
 * "-" for a pattern; PREFACE a file sent once per connection, or "-".
 *
 * Every request started in a slice is finished in it, so a server is idle between
 * two slices and the CPU time that it used belongs to the requests counted here.
 */
#define _GNU_SOURCE
#include "churn.h"
#include "target.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>

enum {
	TARGETS_MAX = 16,
	EVENTS_MAX = 256,
	RECEIVE_BYTES = 1 << 18,
	STALL_MS = 5000,	/* no reply for so long: the server is stuck */
	BUCKETS_PER_OCTAVE = 32,
	BUCKETS_COUNT = 64 * BUCKETS_PER_OCTAVE,
};

struct slice {
	uint64_t deadline_ns;
	uint64_t requests_count;
	unsigned outstanding;
	bool verify;
	uint64_t mismatches_count;
	uint32_t latency[BUCKETS_COUNT];
};

static struct target *targets[TARGETS_MAX];
static bool churns[TARGETS_MAX];
static struct slice slice;
static char receive_buffer[RECEIVE_BYTES];

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* 32 linear steps in each power of two: three per cent of resolution. */
static unsigned latency_bucket(uint64_t ns)
{
	unsigned octave;

	if (ns < BUCKETS_PER_OCTAVE)
		return (unsigned)ns;
	octave = 63 - (unsigned)__builtin_clzll(ns) - 5;
	return (octave + 1) * BUCKETS_PER_OCTAVE + ((ns >> octave) & 31);
}

static uint64_t bucket_ns(unsigned bucket)
{
	unsigned octave = bucket / BUCKETS_PER_OCTAVE;
	uint64_t step = bucket % BUCKETS_PER_OCTAVE;

	return octave ? (step + BUCKETS_PER_OCTAVE) << (octave - 1) : step;
}

static uint64_t latency_quantile(double quantile)
{
	uint64_t seen = 0;
	unsigned i;

	for (i = 0; i < BUCKETS_COUNT; i++) {
		seen += slice.latency[i];
		if (seen && (double)seen >= quantile * (double)slice.requests_count)
			return bucket_ns(i);
	}
	return 0;
}

static void verify(const struct target *target, size_t position,
		   const char *data, size_t size)
{
	size_t part;

	while (size) {
		part = target->reply_bytes - position;
		if (part > size)
			part = size;
		if (memcmp(target->payload + position, data, part))
			slice.mismatches_count++;
		position = 0;
		data += part;
		size -= part;
	}
}

/* Count finished requests; answers how many replies came to their end. */
static unsigned count_replies(struct target *target, struct connection *connection,
			      long received, uint64_t now_ns)
{
	unsigned replies_count = 0;

	if (slice.verify)
		verify(target, connection->received_bytes, receive_buffer,
		       (size_t)received);
	connection->received_bytes += (size_t)received;
	while (connection->received_bytes >= target->reply_bytes &&
	       connection->outstanding) {
		connection->received_bytes -= target->reply_bytes;
		slice.latency[latency_bucket(
			now_ns - connection->sent_at_ns[connection->oldest])]++;
		connection->oldest = (connection->oldest + 1) % DEPTH_MAX;
		connection->outstanding--;
		replies_count++;
	}
	slice.requests_count += replies_count;
	return replies_count;
}

static int go_on(struct target *target, struct connection *connection, bool churn,
		 unsigned replies_count, uint64_t now_ns)
{
	bool more = now_ns < slice.deadline_ns;

	if (!replies_count)
		return 0;
	if (churn)
		churn_finish(connection);
	if (!more) {
		slice.outstanding -= replies_count;
		return 0;
	}
	if (churn)
		return churn_start(target, connection, now_ns);
	return connection_queue(target, connection, replies_count, now_ns);
}

static int handle_event(struct target *target, bool churn,
			const struct epoll_event *event)
{
	struct connection *connection = event->data.ptr;
	uint64_t now_ns;
	long received = 0;
	int error = 0;

	if (event->events & EPOLLOUT)
		error = connection_flush(target, connection);
	if (error || !(event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return error;
	do {
		received = connection_receive(connection, receive_buffer,
					      RECEIVE_BYTES);
		if (received <= 0)
			return (int)received;
		now_ns = clock_ns();
		error = go_on(target, connection, churn,
			      count_replies(target, connection, received, now_ns),
			      now_ns);
		/* OpenSSL may hold more records that epoll cannot see. */
	} while (!error && connection->ssl);
	return error;
}

static int run_slice(struct target *target, bool churn, uint64_t start_ns)
{
	struct epoll_event events[EVENTS_MAX];
	unsigned depth = churn ? 1 : target->depth, i;
	int error = 0, ready, n;

	slice.outstanding = target->connections_count * depth;
	for (i = 0; !error && i < target->connections_count; i++)
		error = churn ? churn_start(target, &target->connections[i], start_ns)
			      : connection_queue(target, &target->connections[i],
						 depth, start_ns);
	while (!error && slice.outstanding) {
		ready = epoll_wait(target->epoll_fd, events, EVENTS_MAX, STALL_MS);
		if (ready == 0)
			return -ETIMEDOUT;
		for (n = 0; !error && n < ready; n++)
			error = handle_event(target, churn, &events[n]);
	}
	return error;
}

static void command_slice(unsigned id, unsigned milliseconds, bool check)
{
	uint64_t start_ns = clock_ns(), end_ns;
	int error;

	memset(&slice, 0, sizeof slice);
	slice.verify = check;
	slice.deadline_ns = start_ns + milliseconds * 1000000ull;
	error = run_slice(targets[id], churns[id], start_ns);
	end_ns = clock_ns();
	if (error) {
		printf("{\"error\": \"%s while under load\"}\n", strerror(-error));
		return;
	}
	printf("{\"requests\": %llu, \"seconds\": %.9f, \"p50_ns\": %llu, "
	       "\"p99_ns\": %llu, \"mismatches\": %llu}\n",
	       (unsigned long long)slice.requests_count,
	       (double)(end_ns - start_ns) / 1e9,
	       (unsigned long long)latency_quantile(0.5),
	       (unsigned long long)latency_quantile(0.99),
	       (unsigned long long)slice.mismatches_count);
}

static char *read_file(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	char *content = malloc(1 << 20);

	if (!file || !content)
		exit(EXIT_FAILURE);
	*size = fread(content, 1, (1 << 20) - 1, file);
	content[*size] = '\0';
	fclose(file);
	return content;
}

static int fill_payload(struct target *target, const char *path)
{
	char *request = NULL;
	size_t size, i;

	if (strcmp(path, "-")) {
		request = read_file(path, &size);
		target->send_bytes = size;
	}
	target->payload_bytes = target->depth * target->send_bytes;
	target->payload = malloc(target->payload_bytes);
	if (!target->payload)
		return -ENOMEM;
	for (i = 0; i < target->payload_bytes; i++) {
		size = i % target->send_bytes;
		target->payload[i] = request ? request[size] : (char)(size % 251);
	}
	free(request);
	return 0;
}

static int parse_open(char *line, struct target *target, unsigned *id, bool *churn)
{
	char protocol[16], host[128], payload[256], preface[256];
	int port, error;
	size_t size;

	if (sscanf(line, "open %u %15s %127s %d %u %zu %zu %u %255s %255s", id,
		   protocol, host, &port, &target->connections_count,
		   &target->send_bytes, &target->reply_bytes, &target->depth,
		   payload, preface) != 10)
		return -EINVAL;
	if (*id >= TARGETS_MAX || targets[*id] || target->depth > DEPTH_MAX ||
	    !target->depth || !target->send_bytes || !target->reply_bytes)
		return -EINVAL;
	*churn = !strcmp(protocol, "churn");
	target->protocol = !strcmp(protocol, "unix") ? PROTOCOL_UNIX :
			   !strcmp(protocol, "udp") ? PROTOCOL_UDP :
			   !strcmp(protocol, "tls") ? PROTOCOL_TLS : PROTOCOL_TCP;
	error = target_set_address(target, host, port);
	if (!error)
		error = fill_payload(target, payload);
	if (!error && strcmp(preface, "-"))
		target->preface = read_file(preface, &size);
	return error;
}

static void command_open(char *line)
{
	struct target *target = calloc(1, sizeof *target);
	const char *why = "bad command";
	unsigned id, i;
	bool churn;
	int error;

	if (!target)
		exit(EXIT_FAILURE);
	target->epoll_fd = -1;
	error = parse_open(line, target, &id, &churn);
	if (!error)
		error = target_open(target, &why);
	if (error) {
		target_close(target);
		free(target);
		printf("{\"error\": \"%s: %s\"}\n", why, strerror(-error));
		return;
	}
	/* Churn made its connections only to see that the server is there. */
	for (i = 0; churn && i < target->connections_count; i++)
		churn_finish(&target->connections[i]);
	targets[id] = target;
	churns[id] = churn;
	printf("{}\n");
}

int main(void)
{
	char line[1024];
	unsigned id, milliseconds, check;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof line, stdin)) {
		if (!strncmp(line, "open ", 5)) {
			command_open(line);
		} else if (sscanf(line, "slice %u %u %u", &id, &milliseconds,
				  &check) == 3 && id < TARGETS_MAX && targets[id]) {
			command_slice(id, milliseconds, check);
		} else if (sscanf(line, "close %u", &id) == 1 && id < TARGETS_MAX &&
			   targets[id]) {
			target_close(targets[id]);
			free(targets[id]);
			targets[id] = NULL;
			printf("{}\n");
		} else {
			printf("{\"error\": \"bad command\"}\n");
		}
	}
	return EXIT_SUCCESS;
}
