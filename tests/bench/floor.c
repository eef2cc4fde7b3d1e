/*
 * Floor: takes what the kernel queues, and lets it pass unread. What the queue itself costs, with nothing behind it.
 *
 * One process a queue, as cheap as it can be made: up to BURST packets in one system call, their verdicts in another.
 * A packet of the client's passes, one of the server's opens its flow. Prints "ready" when all queues are bound.
 *
 * usage: floor --queues N --pass MARK --allowed MARK --server NIBBLE
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

enum { BURST = 64, MESSAGE = 4096, COPY = 3840, LENGTH = 8192, RECEIVE = 16 * 1024 * 1024, VERDICT = 40 };

static uint32_t pass_mark, allowed_mark, server_nibble;

static void die(const char *what)
{
	fprintf(stderr, "floor: error: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* A netlink message for queue `queue`; attributes are appended to it. */
static size_t begin(unsigned char *at, unsigned type, unsigned queue, unsigned flags)
{
	struct nlmsghdr *header = (struct nlmsghdr *)at;
	struct nfgenmsg *generic = (struct nfgenmsg *)(at + NLMSG_HDRLEN);
	memset(at, 0, NLMSG_HDRLEN + sizeof *generic);
	header->nlmsg_type = (uint16_t)(NFNL_SUBSYS_QUEUE << 8 | type);
	header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	generic->res_id = htons((uint16_t)queue);
	return header->nlmsg_len = NLMSG_HDRLEN + sizeof *generic;
}

static void append(unsigned char *at, unsigned type, const void *value, size_t size)
{
	struct nlmsghdr *header = (struct nlmsghdr *)at;
	struct nlattr *attribute = (struct nlattr *)(at + header->nlmsg_len);
	attribute->nla_type = (uint16_t)type;
	attribute->nla_len = (uint16_t)(NLA_HDRLEN + size);
	memcpy((unsigned char *)attribute + NLA_HDRLEN, value, size);
	header->nlmsg_len += (uint32_t)NLA_ALIGN(attribute->nla_len);
}

/* Send a configuration message and wait for the kernel's word. */
static void configure(int descriptor, unsigned char *message)
{
	unsigned char answer[MESSAGE];
	if (send(descriptor, message, ((struct nlmsghdr *)message)->nlmsg_len, 0) < 0 ||
	    recv(descriptor, answer, sizeof answer, 0) < 0)
		die("netlink");
	errno = -((struct nlmsgerr *)(answer + NLMSG_HDRLEN))->error;
	if (errno)
		die("queue");
}

static int bind_queue(unsigned queue)
{
	unsigned char message[256];
	struct sockaddr_nl address = {.nl_family = AF_NETLINK};
	int on = 1, octets = RECEIVE, descriptor = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&address, sizeof address) < 0)
		die("socket");
	setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof octets);
	setsockopt(descriptor, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on);
	struct nfqnl_msg_config_cmd command = {.command = NFQNL_CFG_CMD_BIND, .pf = htons(AF_INET)};
	begin(message, NFQNL_MSG_CONFIG, queue, NLM_F_ACK);
	append(message, NFQA_CFG_CMD, &command, sizeof command);
	configure(descriptor, message);
	struct nfqnl_msg_config_params params = {.copy_range = htonl(COPY), .copy_mode = NFQNL_COPY_PACKET};
	uint32_t length = htonl(LENGTH);
	begin(message, NFQNL_MSG_CONFIG, queue, NLM_F_ACK);
	append(message, NFQA_CFG_PARAMS, &params, sizeof params);
	append(message, NFQA_CFG_QUEUE_MAXLEN, &length, sizeof length);
	configure(descriptor, message);
	return descriptor;
}

/* Write the verdict on one queued packet. */
static size_t judge(const unsigned char *packet, unsigned char *out, unsigned queue)
{
	const struct nlmsghdr *header = (const struct nlmsghdr *)packet;
	const unsigned char *at = packet + NLMSG_HDRLEN + sizeof(struct nfgenmsg), *end = packet + header->nlmsg_len;
	struct nfqnl_msg_verdict_hdr verdict = {.verdict = htonl(1)}; /* NF_ACCEPT */
	uint32_t mark = 0;
	while (at + NLA_HDRLEN <= end) {
		const struct nlattr *attribute = (const struct nlattr *)at;
		if ((attribute->nla_type & NLA_TYPE_MASK) == NFQA_PACKET_HDR)
			memcpy(&verdict.id, at + NLA_HDRLEN, sizeof verdict.id);
		else if ((attribute->nla_type & NLA_TYPE_MASK) == NFQA_MARK)
			memcpy(&mark, at + NLA_HDRLEN, sizeof mark);
		at += NLA_ALIGN(attribute->nla_len);
	}
	mark = htonl(ntohl(mark) >> 28 == server_nibble ? allowed_mark : pass_mark);
	begin(out, NFQNL_MSG_VERDICT, queue, 0);
	append(out, NFQA_VERDICT_HDR, &verdict, sizeof verdict);
	append(out, NFQA_MARK, &mark, sizeof mark);
	return ((struct nlmsghdr *)out)->nlmsg_len;
}

static void serve(int descriptor, unsigned queue)
{
	static unsigned char packets[BURST][MESSAGE], verdicts[BURST * VERDICT];
	static struct mmsghdr messages[BURST];
	static struct iovec places[BURST];
	struct sched_param nothing = {0};
	sched_setscheduler(0, SCHED_BATCH, &nothing); /* as our workers are */
	for (int index = 0; index < BURST; index++) {
		places[index] = (struct iovec){packets[index], MESSAGE};
		messages[index].msg_hdr = (struct msghdr){.msg_iov = &places[index], .msg_iovlen = 1};
	}
	for (;;) {
		struct pollfd wanted = {.fd = descriptor, .events = POLLIN};
		poll(&wanted, 1, -1);
		int count = recvmmsg(descriptor, messages, BURST, MSG_DONTWAIT, NULL);
		size_t size = 0;
		for (int index = 0; index < count; index++)
			size += judge(packets[index], verdicts + size, queue);
		if (size && send(descriptor, verdicts, size, 0) < 0)
			die("verdicts");
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"queues", 1, 0, 'q'}, {"pass", 1, 0, 'p'}, {"allowed", 1, 0, 'a'}, {"server", 1, 0, 's'}, {0, 0, 0, 0},
	};
	unsigned queues = 0;
	int option;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		uint32_t value = (uint32_t)strtoul(optarg ? optarg : "", NULL, 0);
		switch (option) {
		case 'q': queues = value; break;
		case 'p': pass_mark = value; break;
		case 'a': allowed_mark = value; break;
		case 's': server_nibble = value; break;
		default: return 2;
		}
	}
	for (unsigned queue = 0; queue < queues; queue++) {
		int descriptor = bind_queue(queue);
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			serve(descriptor, queue);
		}
		close(descriptor);
	}
	puts("ready");
	fflush(stdout);
	while (wait(NULL) > 0)
		;
	return 1;
}
