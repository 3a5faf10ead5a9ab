/* Load client: drives one of several open targets for a slice of time on command.
 *
 * Lines on stdin, one JSON line on stdout for each:
 *   open ID PROTOCOL HOST PORT CONNECTIONS SEND REPLY DEPTH PAYLOAD PREFACE
 *   slice ID MILLISECONDS VERIFY [BESIDE]       close ID
 * PROTOCOL is tcp, unix, udp, tls, churn, tls-churn, tls-resumed or batch: over TCP,
 * all connections ask, and ask again when all have been answered; its latencies are
 * those of the first answer of each batch, counted from its first request. PAYLOAD is
 * a file with one request, or "-" for a pattern; PREFACE a file sent once per
 * connection, or "-". BESIDE is the ID of a second target that is driven in the same
 * slice; latencies are the first one's.
 *
 * Every request started in a slice is finished in it, so a server is idle between
 * two slices and the CPU time that it used belongs to the requests counted here.
 */
#define _GNU_SOURCE
#include "churn.h"
#include "target.h"

#include <errno.h>
#include <poll.h>
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
	GRACE_MS = 10000,	/* so late after the end of a slice: it crawls */
	BUCKETS_PER_OCTAVE = 32,
	BUCKETS_COUNT = 64 * BUCKETS_PER_OCTAVE,
};

/* An open target, and what happened on it in the slice. */
struct run {
	struct target target;
	bool churns;
	bool batches;
	bool awaits_first;	/* of a batch's answers */
	unsigned outstanding;
	uint64_t requests_count;
	uint64_t latencies_count;
	uint64_t mismatches_count;
	uint32_t latency[BUCKETS_COUNT];
};

struct slice {
	uint64_t deadline_ns;
	bool verify;
};

static struct run *runs[TARGETS_MAX];
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

static uint64_t latency_quantile(const struct run *run, double quantile)
{
	uint64_t seen = 0;
	unsigned i;

	for (i = 0; i < BUCKETS_COUNT; i++) {
		seen += run->latency[i];
		if (seen && (double)seen >= quantile * (double)run->latencies_count)
			return bucket_ns(i);
	}
	return 0;
}

static void verify(struct run *run, size_t position, const char *data, size_t size)
{
	const struct target *target = &run->target;
	size_t part;

	while (size) {
		part = target->reply_bytes - position;
		if (part > size)
			part = size;
		if (memcmp(target->payload + position, data, part))
			run->mismatches_count++;
		position = 0;
		data += part;
		size -= part;
	}
}

static void note_latency(struct run *run, uint64_t ns)
{
	if (run->batches && !run->awaits_first)
		return;
	run->awaits_first = false;
	run->latency[latency_bucket(ns)]++;
	run->latencies_count++;
}

/* Count finished requests; answers how many replies came to their end. */
static unsigned count_replies(struct run *run, struct connection *connection,
			      long received, uint64_t now_ns)
{
	size_t reply_bytes = run->target.reply_bytes;
	unsigned replies_count = 0;

	if (slice.verify)
		verify(run, connection->received_bytes, receive_buffer,
		       (size_t)received);
	connection->received_bytes += (size_t)received;
	while (connection->received_bytes >= reply_bytes && connection->outstanding) {
		connection->received_bytes -= reply_bytes;
		note_latency(run, now_ns -
				  connection->sent_at_ns[connection->oldest]);
		connection->oldest = (connection->oldest + 1) % DEPTH_MAX;
		connection->outstanding--;
		replies_count++;
	}
	run->requests_count += replies_count;
	return replies_count;
}

static int go_on(struct run *run, struct connection *connection,
		 unsigned replies_count, uint64_t now_ns)
{
	bool more = now_ns < slice.deadline_ns;

	if (!replies_count)
		return 0;
	if (run->churns)
		run->mismatches_count += !churn_finish(&run->target, connection);
	if (!more || run->batches) {
		run->outstanding -= replies_count;
		return 0;
	}
	if (run->churns)
		return churn_start(&run->target, connection, now_ns);
	return connection_queue(&run->target, connection, replies_count, now_ns);
}

static int handle_event(struct run *run, const struct epoll_event *event)
{
	struct connection *connection = event->data.ptr;
	uint64_t now_ns;
	long received = 0;
	int error = 0;

	/* A handshake may have waited for the peer with data to send. */
	if (event->events & EPOLLOUT || (connection->ssl && connection->unsent_bytes))
		error = connection_flush(&run->target, connection);
	if (error || !(event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return error;
	do {
		received = connection_receive(connection, receive_buffer,
					      RECEIVE_BYTES);
		if (received <= 0)
			return (int)received;
		now_ns = clock_ns();
		error = go_on(run, connection,
			      count_replies(run, connection, received, now_ns),
			      now_ns);
		/* OpenSSL may hold more records that epoll cannot see. */
	} while (!error && connection->ssl);
	return error;
}

/* The first requests of all connections, or those of a batch. */
static int ask_all(struct run *run, uint64_t start_ns)
{
	struct target *target = &run->target;
	unsigned depth = run->churns ? 1 : target->depth, i;
	int error = 0;

	run->awaits_first = true;
	run->outstanding = target->connections_count * depth;
	for (i = 0; !error && i < target->connections_count; i++)
		error = run->churns ? churn_start(target, &target->connections[i],
						  start_ns)
				    : connection_queue(target,
						       &target->connections[i],
						       depth, start_ns);
	return error;
}

static int start_requests(struct run *run, uint64_t start_ns)
{
	run->requests_count = run->mismatches_count = run->latencies_count = 0;
	memset(run->latency, 0, sizeof run->latency);
	return ask_all(run, start_ns);
}

/* Wait for one target and handle what came; answers how many events, or -errno. */
static int handle_events(struct run *run, int timeout_ms)
{
	struct epoll_event events[EVENTS_MAX];
	int ready, n, error = 0;

	ready = epoll_wait(run->target.epoll_fd, events, EVENTS_MAX, timeout_ms);
	if (ready < 0)
		return errno == EINTR ? 1 : -errno;
	if (clock_ns() > slice.deadline_ns + GRACE_MS * 1000000ull)
		return -ETIMEDOUT;
	for (n = 0; !error && n < ready; n++)
		error = handle_event(run, &events[n]);
	return error ? error : ready;
}

static int finish_alone(struct run *run)
{
	uint64_t now_ns;
	int handled;

	while (run->outstanding) {
		handled = handle_events(run, STALL_MS);
		if (handled <= 0)
			return handled ? handled : -ETIMEDOUT;
		now_ns = clock_ns();
		if (run->batches && !run->outstanding && now_ns < slice.deadline_ns)
			handled = ask_all(run, now_ns);
		if (handled < 0)
			return handled;
	}
	return 0;
}

static int finish_both(struct run *run, struct run *beside)
{
	struct pollfd ready[] = {
		{ .fd = run->target.epoll_fd, .events = POLLIN },
		{ .fd = beside->target.epoll_fd, .events = POLLIN },
	};
	int handled;

	while (run->outstanding || beside->outstanding) {
		if (poll(ready, 2, STALL_MS) == 0)
			return -ETIMEDOUT;
		handled = handle_events(run, 0);
		if (handled >= 0)
			handled = handle_events(beside, 0);
		if (handled < 0)
			return handled;
	}
	return 0;
}

static void command_slice(struct run *run, struct run *beside, unsigned milliseconds,
			  bool check)
{
	uint64_t start_ns = clock_ns(), end_ns;
	int error;

	slice.verify = check;
	slice.deadline_ns = start_ns + milliseconds * 1000000ull;
	error = start_requests(run, start_ns);
	if (!error && beside)
		error = start_requests(beside, start_ns);
	if (!error)
		error = beside ? finish_both(run, beside) : finish_alone(run);
	end_ns = clock_ns();
	if (error) {
		printf("{\"error\": \"%s while under load\"}\n", strerror(-error));
		return;
	}
	printf("{\"requests\": %llu, \"seconds\": %.9f, \"p50_ns\": %llu, "
	       "\"p99_ns\": %llu, \"p999_ns\": %llu, \"mismatches\": %llu, "
	       "\"beside\": %llu}\n",
	       (unsigned long long)run->requests_count,
	       (double)(end_ns - start_ns) / 1e9,
	       (unsigned long long)latency_quantile(run, 0.5),
	       (unsigned long long)latency_quantile(run, 0.99),
	       (unsigned long long)latency_quantile(run, 0.999),
	       (unsigned long long)run->mismatches_count,
	       (unsigned long long)(beside ? beside->requests_count : 0));
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

static int parse_open(char *line, struct run *run, unsigned *id)
{
	char protocol[16], host[128], payload[256], preface[256];
	struct target *target = &run->target;
	int port, error;
	size_t size;

	if (sscanf(line, "open %u %15s %127s %d %u %zu %zu %u %255s %255s", id,
		   protocol, host, &port, &target->connections_count,
		   &target->send_bytes, &target->reply_bytes, &target->depth,
		   payload, preface) != 10)
		return -EINVAL;
	if (*id >= TARGETS_MAX || runs[*id] || target->depth > DEPTH_MAX ||
	    !target->depth || !target->send_bytes || !target->reply_bytes)
		return -EINVAL;
	target->resumes = !strcmp(protocol, "tls-resumed");
	run->churns = target->resumes || strstr(protocol, "churn");
	run->batches = !strcmp(protocol, "batch");
	target->protocol = !strcmp(protocol, "unix") ? PROTOCOL_UNIX :
			   !strcmp(protocol, "udp") ? PROTOCOL_UDP :
			   !strncmp(protocol, "tls", 3) ? PROTOCOL_TLS : PROTOCOL_TCP;
	error = target_set_address(target, host, port);
	if (!error)
		error = fill_payload(target, payload);
	if (!error && strcmp(preface, "-"))
		target->preface = read_file(preface, &size);
	return error;
}

static void command_open(char *line)
{
	struct run *run = calloc(1, sizeof *run);
	const char *why = "bad command";
	unsigned id, i;
	int error;

	if (!run)
		exit(EXIT_FAILURE);
	run->target.epoll_fd = -1;
	error = parse_open(line, run, &id);
	if (!error)
		error = target_open(&run->target, &why);
	if (error) {
		target_close(&run->target);
		free(run);
		printf("{\"error\": \"%s: %s\"}\n", why, strerror(-error));
		return;
	}
	/* Churn made its connections only to see that the server is there. */
	for (i = 0; run->churns && i < run->target.connections_count; i++)
		churn_finish(&run->target, &run->target.connections[i]);
	runs[id] = run;
	printf("{}\n");
}

static struct run *open_run(unsigned id)
{
	return id < TARGETS_MAX ? runs[id] : NULL;
}

static bool command(char *line)
{
	unsigned id, milliseconds, check, beside;
	int words = sscanf(line, "slice %u %u %u %u", &id, &milliseconds, &check,
			   &beside);

	if (!strncmp(line, "open ", 5)) {
		command_open(line);
	} else if (words >= 3 && open_run(id) && (words == 3 || open_run(beside))) {
		command_slice(runs[id], words == 4 ? runs[beside] : NULL,
			      milliseconds, check);
	} else if (sscanf(line, "close %u", &id) == 1 && open_run(id)) {
		target_close(&runs[id]->target);
		free(runs[id]);
		runs[id] = NULL;
		printf("{}\n");
	} else {
		return false;
	}
	return true;
}

int main(void)
{
	char line[1024];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof line, stdin))
		if (!command(line))
			printf("{\"error\": \"bad command\"}\n");
	return EXIT_SUCCESS;
}
