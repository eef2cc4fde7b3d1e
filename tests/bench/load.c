/*
 * Load generator: opens TCP connections, sends a ClientHello, waits for the server's flight, resets.
 *
 * Each process has one epoll and keeps a fixed number of connections in flight, over all targets and all source
 * addresses in turn, for a time or a count. What all processes saw is printed as one JSON object. With --bulk it
 * makes one connection instead, asks the server to stream (an application_data record that holds the seconds),
 * and counts octets.
 *
 * usage: load --hello FILE --placeholder NAME --targets FILE --flight OCTETS [--sources FIRST/COUNT]
 *             [--processes N] [--in-flight N] [--seconds S] [--count N] [--deadline-ms MS] [--bulk S]
 *   --in-flight and --count are of each process.
 *   FILE of --targets has a line "ADDRESS PORT NAME" per target; every NAME is as long as the placeholder.
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
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum {
	HELLO_LIMIT = 16384,
	TARGET_LIMIT = 4096,
	IN_FLIGHT_LIMIT = 4096,
	PROCESS_LIMIT = 16,
	SAMPLE_LIMIT = 1 << 22, /* first octets timed by one process; the memory is only used as far as needed */
	EVENTS = 256,
	CHUNK = 1 << 18,
};

struct target {
	struct sockaddr_in address;
	unsigned char *hello;
};

struct slot {
	int descriptor; /* -1: not connected */
	int sent;
	uint64_t started; /* microseconds, monotonic */
	size_t received;
	const struct target *target;
};

static struct target targets[TARGET_LIMIT];
static size_t target_count, next_target;
static size_t hello_length, flight_length;
static uint32_t first_source, source_count, next_source; /* host order */
static struct slot slots[IN_FLIGHT_LIMIT];
static int poller;

/* What one process saw; shared with the one that prints. */
struct tally {
	uint64_t completed, reset_early, timed_out, wrong_answer, local_error;
	double seconds;
	size_t sample_count;
	uint32_t samples[SAMPLE_LIMIT]; /* microseconds from connect() to the first octet */
};

static struct tally *tally;

static void die(const char *what)
{
	fprintf(stderr, "load: error: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return (uint64_t)at.tv_sec * 1000000u + (uint64_t)at.tv_nsec / 1000u;
}

static void read_targets(const char *hello_path, const char *placeholder, const char *targets_path)
{
	unsigned char template[HELLO_LIMIT];
	FILE *file = fopen(hello_path, "rb");
	if (!file)
		die(hello_path);
	hello_length = fread(template, 1, sizeof template, file);
	fclose(file);
	unsigned char *at = memmem(template, hello_length, placeholder, strlen(placeholder));
	if (!at) {
		errno = EINVAL;
		die("the hello does not hold the placeholder");
	}
	file = fopen(targets_path, "r");
	if (!file)
		die(targets_path);
	char address[64], name[256];
	unsigned port;
	while (target_count < TARGET_LIMIT && fscanf(file, "%63s %u %255s", address, &port, name) == 3) {
		struct target *target = &targets[target_count++];
		target->address.sin_family = AF_INET;
		target->address.sin_port = htons((uint16_t)port);
		errno = EINVAL;
		if (inet_pton(AF_INET, address, &target->address.sin_addr) != 1 || strlen(name) != strlen(placeholder))
			die("a target has a bad address, or a name not as long as the placeholder");
		memcpy(at, name, strlen(name));
		target->hello = malloc(hello_length);
		if (!target->hello)
			die("memory");
		memcpy(target->hello, template, hello_length);
	}
	fclose(file);
	if (!target_count) {
		errno = EINVAL;
		die("no targets");
	}
}

/* A socket bound to the next source address, its port left to connect(). */
static int open_socket(int flags)
{
	int on = 1;
	struct linger reset = {.l_onoff = 1, .l_linger = 0};
	int descriptor = socket(AF_INET, SOCK_STREAM | flags, 0);
	if (descriptor < 0)
		return -1;
	setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (source_count) {
		struct sockaddr_in source = {.sin_family = AF_INET};
		source.sin_addr.s_addr = htonl(first_source + next_source);
		next_source = (next_source + 1) % source_count;
		setsockopt(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
		if (bind(descriptor, (struct sockaddr *)&source, sizeof source) < 0) {
			close(descriptor);
			return -1;
		}
	}
	return descriptor;
}

static void open_slot(struct slot *slot)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = slot};
	slot->started = now();
	slot->sent = 0;
	slot->received = 0;
	slot->target = &targets[next_target];
	next_target = (next_target + 1) % target_count;
	slot->descriptor = open_socket(SOCK_NONBLOCK);
	if (slot->descriptor < 0) {
		tally->local_error++;
		return;
	}
	const struct sockaddr *address = (const struct sockaddr *)&slot->target->address;
	if ((connect(slot->descriptor, address, sizeof slot->target->address) < 0 && errno != EINPROGRESS) ||
	    epoll_ctl(poller, EPOLL_CTL_ADD, slot->descriptor, &event) < 0) {
		close(slot->descriptor);
		slot->descriptor = -1;
		tally->local_error++;
	}
}

static void close_slot(struct slot *slot)
{
	close(slot->descriptor);
	slot->descriptor = -1;
}

static void record_first_octet(const struct slot *slot)
{
	if (tally->sample_count < SAMPLE_LIMIT)
		tally->samples[tally->sample_count++] = (uint32_t)(now() - slot->started);
}

/* Move one connection on as far as its socket allows; leave it closed when it is over. */
static void advance(struct slot *slot, uint32_t events)
{
	unsigned char buffer[16384];
	if (slot->descriptor < 0)
		return;
	if (!slot->sent && (events & EPOLLOUT) && !(events & EPOLLERR)) {
		if (send(slot->descriptor, slot->target->hello, hello_length, MSG_NOSIGNAL) != (ssize_t)hello_length) {
			tally->reset_early++;
			close_slot(slot);
			return;
		}
		slot->sent = 1;
	}
	while (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
		ssize_t size = recv(slot->descriptor, buffer, sizeof buffer, 0);
		if (size < 0 && errno == EAGAIN)
			return;
		if (size <= 0) {
			tally->reset_early++;
			break;
		}
		if (!slot->received) {
			if (buffer[0] != 22) { /* RFC 8446 section 5.1: handshake record */
				tally->wrong_answer++;
				break;
			}
			record_first_octet(slot);
		}
		slot->received += (size_t)size;
		if (slot->received >= flight_length) {
			tally->completed++;
			break;
		}
		if ((size_t)size < sizeof buffer)
			return;
	}
	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		close_slot(slot);
}

static int compare(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
	return (a > b) - (a < b);
}

static void generate(size_t in_flight, double seconds, uint64_t count, uint64_t deadline)
{
	struct epoll_event events[EVENTS];
	uint64_t begin = now(), end = begin + (uint64_t)(seconds * 1e6), scanned = begin, opened = 0, at = begin;
	size_t busy = 0;
	for (size_t index = 0; index < in_flight; index++)
		slots[index].descriptor = -1;
	for (;;) {
		int more = at < end && (!count || opened < count);
		busy = 0;
		for (size_t index = 0; index < in_flight; index++) {
			if (slots[index].descriptor < 0 && more) {
				open_slot(&slots[index]);
				opened++;
				more = !count || opened < count;
			}
			busy += slots[index].descriptor >= 0;
		}
		if (at >= end || (!busy && !more))
			break;
		int ready = epoll_wait(poller, events, EVENTS, 10);
		for (int index = 0; index < ready; index++)
			advance(events[index].data.ptr, events[index].events);
		at = now();
		if (at - scanned > 50000) {
			scanned = at;
			for (size_t index = 0; index < in_flight; index++)
				if (slots[index].descriptor >= 0 && at - slots[index].started > deadline) {
					tally->timed_out++;
					close_slot(&slots[index]);
				}
		}
	}
	tally->seconds = (double)(now() - begin) / 1e6;
	for (size_t index = 0; index < in_flight; index++)
		if (slots[index].descriptor >= 0)
			close_slot(&slots[index]);
}

/* Add the tallies up and print them. */
static void print_sum(const struct tally *tallies, size_t processes)
{
	struct tally *sum = calloc(1, sizeof *sum);
	size_t count = 0;
	for (size_t index = 0; index < processes; index++)
		count += tallies[index].sample_count;
	uint32_t *samples = malloc((count + 1) * sizeof *samples);
	if (!sum || !samples)
		die("memory");
	for (size_t index = 0; index < processes; index++) {
		const struct tally *one = &tallies[index];
		sum->completed += one->completed;
		sum->reset_early += one->reset_early;
		sum->timed_out += one->timed_out;
		sum->wrong_answer += one->wrong_answer;
		sum->local_error += one->local_error;
		if (one->seconds > sum->seconds)
			sum->seconds = one->seconds;
		memcpy(samples + sum->sample_count, one->samples, one->sample_count * sizeof *samples);
		sum->sample_count += one->sample_count;
	}
	qsort(samples, count, sizeof *samples, compare);
	printf("{\"completed\": %lu, \"seconds\": %.4f, \"p50_us\": %u, \"p99_us\": %u, \"reset\": %lu, "
	       "\"timeout\": %lu, \"wrong\": %lu, \"local\": %lu}\n",
	       sum->completed, sum->seconds, count ? samples[count / 2] : 0, count ? samples[count * 99 / 100] : 0,
	       sum->reset_early, sum->timed_out, sum->wrong_answer, sum->local_error);
}

static void generate_in(size_t processes, size_t in_flight, double seconds, uint64_t count, uint64_t deadline)
{
	struct tally *tallies = mmap(NULL, sizeof *tallies * processes, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (tallies == MAP_FAILED)
		die("memory");
	for (size_t index = 0; index < processes; index++) {
		pid_t child = fork();
		if (child < 0)
			die("fork");
		if (child)
			continue;
		tally = &tallies[index];
		next_target = index * target_count / processes;
		next_source = source_count ? (uint32_t)(index * source_count / processes) : 0;
		poller = epoll_create1(0);
		if (poller < 0)
			die("epoll");
		generate(in_flight, seconds, count, deadline);
		_exit(0);
	}
	int status, failed = 0;
	while (wait(&status) > 0)
		failed |= status;
	if (failed)
		exit(1);
	print_sum(tallies, processes);
}

static void receive_exactly(int descriptor, size_t octets)
{
	unsigned char buffer[16384];
	while (octets) {
		ssize_t size = recv(descriptor, buffer, octets < sizeof buffer ? octets : sizeof buffer, 0);
		if (size <= 0)
			die("bulk: the server's flight");
		octets -= (size_t)size;
	}
}

static void stream(unsigned seconds)
{
	unsigned char request[] = {23, 3, 3, 0, 2, (unsigned char)(seconds >> 8), (unsigned char)seconds};
	struct timeval patience = {.tv_sec = 5};
	int descriptor = open_socket(0);
	if (descriptor < 0 ||
	    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
	    connect(descriptor, (struct sockaddr *)&targets[0].address, sizeof targets[0].address) < 0)
		die("bulk: connect");
	if (send(descriptor, targets[0].hello, hello_length, MSG_NOSIGNAL) != (ssize_t)hello_length)
		die("bulk: send");
	receive_exactly(descriptor, flight_length);
	if (send(descriptor, request, sizeof request, MSG_NOSIGNAL) != (ssize_t)sizeof request)
		die("bulk: request");
	uint64_t octets = 0, begin = now(), last = begin;
	for (;;) {
		/* MSG_TRUNC discards without copying, so that what is measured is the path, not this process. */
		ssize_t size = recv(descriptor, NULL, CHUNK, MSG_TRUNC);
		if (size < 0)
			die("bulk: stream");
		if (size == 0)
			break;
		octets += (uint64_t)size;
		last = now();
	}
	double elapsed = (double)(last - begin) / 1e6;
	printf("{\"octets\": %lu, \"seconds\": %.4f, \"gbps\": %.4f}\n", octets, elapsed,
	       elapsed > 0 ? (double)octets * 8 / elapsed / 1e9 : 0.0);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"hello", 1, 0, 'h'},	  {"placeholder", 1, 0, 'p'}, {"targets", 1, 0, 't'},
		{"flight", 1, 0, 'f'},	  {"sources", 1, 0, 's'},     {"in-flight", 1, 0, 'c'},
		{"seconds", 1, 0, 'S'},	  {"count", 1, 0, 'n'},	      {"deadline-ms", 1, 0, 'd'},
		{"bulk", 1, 0, 'b'},	  {"processes", 1, 0, 'P'},   {0, 0, 0, 0},
	};
	const char *hello = "", *placeholder = "", *target_file = "";
	size_t in_flight = 64, processes = 1;
	double seconds = 3600;
	uint64_t count = 0, deadline = 5000;
	unsigned bulk = 0;
	int option;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'h': hello = optarg; break;
		case 'p': placeholder = optarg; break;
		case 't': target_file = optarg; break;
		case 'f': flight_length = strtoul(optarg, NULL, 10); break;
		case 'c': in_flight = strtoul(optarg, NULL, 10); break;
		case 'P': processes = strtoul(optarg, NULL, 10); break;
		case 'S': seconds = strtod(optarg, NULL); break;
		case 'n': count = strtoull(optarg, NULL, 10); break;
		case 'd': deadline = strtoull(optarg, NULL, 10); break;
		case 'b': bulk = (unsigned)strtoul(optarg, NULL, 10); break;
		case 's': {
			char first[64];
			struct in_addr parsed;
			errno = EINVAL;
			if (sscanf(optarg, "%63[0-9.]/%u", first, &source_count) != 2 ||
			    inet_pton(AF_INET, first, &parsed) != 1)
				die("--sources wants FIRST/COUNT");
			first_source = ntohl(parsed.s_addr);
			break;
		}
		default: return 2;
		}
	}
	read_targets(hello, placeholder, target_file);
	if (!in_flight || in_flight > IN_FLIGHT_LIMIT || !processes || processes > PROCESS_LIMIT || !flight_length) {
		errno = EINVAL;
		die("--in-flight, --processes or --flight");
	}
	if (bulk)
		stream(bulk);
	else
		generate_in(processes, in_flight, seconds, count, deadline * 1000);
	return 0;
}
