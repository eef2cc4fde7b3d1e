/*
 * Reply server: reads one complete TLS record, answers with a stored flight, waits for the other end to go.
 *
 * One thread, one epoll. Should the client then send an application_data record of two octets, the server
 * streams records for that many seconds and closes. Prints "ready" when it listens; runs until it is killed.
 *
 * usage: reply --flight FILE --port PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FLIGHT_LIMIT = 65536, HELLO_LIMIT = 16384, EVENTS = 256, RECORDS = 64, RECORD = 5 + 16384 };

struct connection {
	int descriptor;
	int answered;
	size_t received;   /* octets of the record being read; its header is kept, its body is not */
	unsigned char header[7];
	uint64_t stream_end; /* milliseconds, monotonic; 0: not streaming */
	off_t stream_at;
};

static unsigned char flight[FLIGHT_LIMIT];
static size_t flight_length;
static int poller, records = -1;

static void die(const char *what)
{
	fprintf(stderr, "reply: error: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &at);
	return (uint64_t)at.tv_sec * 1000u + (uint64_t)at.tv_nsec / 1000000u;
}

/* Application_data records in memory, so that streaming is sendfile() and copies nothing. */
static void make_records(void)
{
	static unsigned char record[RECORD] = {23, 3, 3, 0x40, 0};
	records = memfd_create("records", 0);
	for (int index = 0; index < RECORDS; index++)
		if (records < 0 || write(records, record, sizeof record) != (ssize_t)sizeof record)
			die("records");
}

static void forget(struct connection *connection)
{
	close(connection->descriptor);
	free(connection);
}

static void stream(struct connection *connection)
{
	while (now() < connection->stream_end) {
		if (connection->stream_at >= (off_t)RECORDS * RECORD)
			connection->stream_at = 0;
		size_t left = (size_t)((off_t)RECORDS * RECORD - connection->stream_at);
		if (sendfile(connection->descriptor, records, &connection->stream_at, left) < 0) {
			if (errno == EAGAIN)
				return;
			break;
		}
	}
	forget(connection);
}

/* Read what is there; answer the first complete record, take the second as the wish for a stream. */
static void serve(struct connection *connection)
{
	unsigned char buffer[HELLO_LIMIT];
	for (;;) {
		ssize_t size = recv(connection->descriptor, buffer, sizeof buffer, 0);
		if (size < 0 && errno == EAGAIN)
			return;
		if (size <= 0) {
			forget(connection);
			return;
		}
		for (size_t index = 0; index < (size_t)size && connection->received + index < sizeof connection->header; index++)
			connection->header[connection->received + index] = buffer[index];
		connection->received += (size_t)size;
		const unsigned char *header = connection->header;
		if (connection->received < 5 || connection->received < 5u + (size_t)(header[3] << 8 | header[4]))
			continue;
		if (!connection->answered) {
			if (header[0] != 22 || send(connection->descriptor, flight, flight_length, MSG_NOSIGNAL) != (ssize_t)flight_length) {
				forget(connection);
				return;
			}
			connection->answered = 1;
			connection->received = 0;
		} else {
			connection->stream_end = now() + 1000u * (unsigned)(header[5] << 8 | header[6]);
			stream(connection);
			return;
		}
		if ((size_t)size < sizeof buffer)
			return; /* edge-triggered: whatever comes later is announced again */
	}
}

static void accept_all(int listener)
{
	for (;;) {
		int descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
		if (descriptor < 0)
			return;
		struct connection *connection = calloc(1, sizeof *connection);
		struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = connection};
		if (!connection)
			die("memory");
		connection->descriptor = descriptor;
		if (epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event) < 0)
			die("epoll");
	}
}

static int listen_on(unsigned port)
{
	int on = 1;
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
	    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
	    bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0 ||
	    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) < 0)
		die("listen");
	return listener;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"flight", 1, 0, 'f'}, {"port", 1, 0, 'p'}, {0, 0, 0, 0}};
	struct epoll_event events[EVENTS];
	const char *path = "";
	unsigned port = 443;
	int option;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'f')
			path = optarg;
		else if (option == 'p')
			port = (unsigned)strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	FILE *file = fopen(path, "rb");
	if (!file)
		die(path);
	flight_length = fread(flight, 1, sizeof flight, file);
	fclose(file);
	make_records();
	poller = epoll_create1(0);
	int listener = listen_on(port);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int ready = epoll_wait(poller, events, EVENTS, -1);
		for (int index = 0; index < ready; index++) {
			struct connection *connection = events[index].data.ptr;
			if (!connection)
				accept_all(listener);
			else if (connection->stream_end)
				stream(connection);
			else if (events[index].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
				serve(connection);
		}
	}
}
