// SPDX-License-Identifier: GPL-2.0-only
/*
 * packets: what the data plane of this network namespace, a node's, makes of frames, one after the other.
 *
 *	packets [--programs PINS] PLACE=NETNS/DEVICE/IFINDEX... <FRAMES
 *
 * A place is where frames come from: DEVICE in NETNS, whose other end is the node's interface IFINDEX. FRAMES has a
 * line each: PLACE FAMILY HEX, the bytes from the network header on. With --programs they go through the pinned eBPF
 * programs by BPF_PROG_RUN; without, they are sent from DEVICE, and whatever arrives at any of the places is what came
 * out. "node>PLACE" is where the node's own packets start that go to a pod, by its routes, or by the program on its
 * interface.
 *
 * Prints a line of JSON for each:
 *	parse		what core/ in this process says of it, seen whole: enum sluice_parse by name
 *	window		the same, seen through the window that the programs have
 *	tuple		as it parsed, or null: [source, destination, protocol, sport, dport, policy's port, SLUICE_PACKET_*]
 *	counters	what the statistics grew by, "drop" with reasons by name among them
 *	sent		[[PLACE, HEX]...], what was delivered or sent; of a program that redirects it is not known where to: "?"
 *	stack		HEX, what a program handed to the stack, null if it did not
 *	mark		is that marked, as judged and translated? Nobody judges it again.
 *	expected	HEX: what core/ makes of the frame, given that the first thing sent has the right addresses and ports;
 *			null where it has nothing to say
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include "bpf/layout.h"
#include "core/nat.h"
#include "core/packet.h"
#include "core/verdict.h"
#include "ctl/lib/nl.h"
#include "ctl/lib/nl_object.h"
#include "ctl/lib/nl_query.h"
#include "tests/integration/tools/netns.h"

#define MAX_PLACES 16
#define MAX_BYTES 4096
#define WINDOW 256 /* SLUICE_WINDOW of bpf/context.h */
#define MARK_OF_NODE 0x77 /* by which a filter tells the packets of this tool */
#define WAIT_MS 40 /* for a packet that no counter counts, or that goes nowhere */
#define WAIT_ANSWER_MS 400 /* for what a refusal is answered with, if it is */
#define WAIT_DELIVERED_MS 2000 /* for what was delivered */

static struct place {
	char name[64];
	int ifindex; /* of the node's interface */
	int device; /* in its own namespace */
	int fd; /* packet socket on it */
	unsigned char mac[6]; /* of the node's interface */
} places[MAX_PLACES];
static unsigned int n_places;

static struct sluice_nl nl;
static bool marked;
static const char *pins;
static int prog_pod, prog_uplink, prog_to_pod, raw4, raw6;

struct packet {
	uint8_t bytes[MAX_BYTES];
	uint32_t len;
};

static struct {
	struct packet p;
	const char *where;
} sent[16];
static unsigned int n_sent;

static void stats(struct sluice_nl_stats *s)
{
	struct sluice_err err = {};

	if (sluice_nl_query_stats(&nl, s, &err))
		die("packets: statistics: %s", sluice_err_msg(&err));
}

#define FIELDS(X) \
	X(misses) \
	X(created) X(cut) X(remapped) X(fast_pod) X(fast_uplink) X(stack) X(foreign) X(fragments)

/* Has the packet's end been counted? */
static bool is_counted(const struct sluice_nl_stats *a, const struct sluice_nl_stats *b)
{
	for (unsigned int i = 0; i < SLUICE_REASON_COUNT; i++)
		if (a->drops[i] != b->drops[i])
			return true;
	return a->fast_pod != b->fast_pod || a->fast_uplink != b->fast_uplink ||
	       a->stack != b->stack || a->foreign != b->foreign || a->fragments != b->fragments;
}

/* How long to wait for it, or an answer to it. What the stack has may also be for the node, or go nowhere. */
static unsigned int wait_for_arrival(const struct sluice_nl_stats *a,
				     const struct sluice_nl_stats *b)
{
	if (a->fast_pod != b->fast_pod || a->fast_uplink != b->fast_uplink)
		return WAIT_DELIVERED_MS;
	if (a->drops[SLUICE_REASON_NO_ENDPOINTS] != b->drops[SLUICE_REASON_NO_ENDPOINTS] ||
	    a->drops[SLUICE_REASON_SERVICE_PORT] != b->drops[SLUICE_REASON_SERVICE_PORT] ||
	    a->drops[SLUICE_REASON_NO_CONNECTION] != b->drops[SLUICE_REASON_NO_CONNECTION])
		return WAIT_ANSWER_MS;
	return a->stack != b->stack || a->foreign != b->foreign ? WAIT_MS : 0;
}

static void print_counters(const struct sluice_nl_stats *a, const struct sluice_nl_stats *b)
{
	const char *comma = "";

	printf("\"counters\":{");
	for (unsigned int i = 0; i < SLUICE_REASON_COUNT; i++)
		if (a->drops[i] != b->drops[i]) {
			printf("%s\"drop %s\":%llu", comma, sluice_reason_name(i),
			       (unsigned long long)(b->drops[i] - a->drops[i]));
			comma = ",";
		}
#define X(field)                                                                                   \
	if (a->field != b->field) {                                                                \
		printf("%s\"%s\":%llu", comma, #field, (unsigned long long)(b->field - a->field)); \
		comma = ",";                                                                       \
	}
	FIELDS(X)
#undef X
	printf("}");
}

static void print_hex(const struct packet *p)
{
	printf("\"");
	for (uint32_t i = 0; i < p->len; i++)
		printf("%02x", p->bytes[i]);
	printf("\"");
}

static void keep(const char *where, const uint8_t *bytes, size_t len)
{
	if (n_sent == sizeof(sent) / sizeof(*sent))
		return;
	sent[n_sent].where = where;
	sent[n_sent].p.len = len > MAX_BYTES ? MAX_BYTES : (uint32_t)len;
	memcpy(sent[n_sent].p.bytes, bytes, sent[n_sent].p.len);
	n_sent++;
}

/* All that has arrived at the places by now. */
static void collect(void)
{
	uint8_t bytes[MAX_BYTES];

	for (unsigned int i = 0; i < n_places; i++) {
		for (;;) {
			struct sockaddr_ll from;
			socklen_t size = sizeof(from);
			ssize_t n;

			if (places[i].fd < 0)
				break;
			n = recvfrom(places[i].fd, bytes, sizeof(bytes), MSG_DONTWAIT,
				     (void *)&from, &size);
			if (n < 0)
				break;
			if (from.sll_pkttype == PACKET_OUTGOING || n < ETH_HLEN)
				continue;
			if (bytes[12] == 0x08 && bytes[13] == 0x06) /* ARP */
				continue;
			keep(places[i].name, bytes + ETH_HLEN, (size_t)n - ETH_HLEN);
		}
	}
}

/* The packet as it comes to a place: from a neighbour, who is nobody. Without a place, from nobody to nobody. */
static uint32_t make_frame(uint8_t frame[ETH_HLEN + MAX_BYTES], const struct place *place,
			   int family, const struct packet *p)
{
	memset(frame, 0, ETH_HLEN);
	if (place) {
		memcpy(frame, place->mac, 6);
		frame[6] = 2;
		frame[11] = 0x99;
	}
	frame[12] = family == 4 ? 0x08 : 0x86;
	frame[13] = family == 4 ? 0x00 : 0xdd;
	memcpy(frame + ETH_HLEN, p->bytes, p->len);
	return ETH_HLEN + p->len;
}

/* By the module: sends, and waits until it is counted. */
static void send_real(struct place *place, int family, const struct packet *p,
		      struct sluice_nl_stats *before, struct sluice_nl_stats *after)
{
	uint8_t frame[ETH_HLEN + MAX_BYTES];
	ssize_t n;

	collect();
	n_sent = 0;
	stats(before);
	if (!place) {
		struct sockaddr_in to4 = { .sin_family = AF_INET };
		struct sockaddr_in6 to6 = { .sin6_family = AF_INET6 };

		memcpy(&to4.sin_addr, p->bytes + 16, 4);
		memcpy(&to6.sin6_addr, p->bytes + 24, 16);
		n = family == 4 ? sendto(raw4, p->bytes, p->len, 0, (void *)&to4, sizeof(to4)) :
				  sendto(raw6, p->bytes, p->len, 0, (void *)&to6, sizeof(to6));
	} else {
		n = send(place->fd, frame, make_frame(frame, place, family, p), 0);
	}
	if (n < 0)
		die("packets: sending %u bytes: %s", p->len, strerror(errno));
	for (uint64_t end = now_ms() + WAIT_MS;;) {
		bool late = now_ms() >= end;

		stats(after);
		if (is_counted(before, after) || late)
			break;
		usleep(200);
	}
	/* It is counted before it arrives; a busy machine takes its time in between. */
	for (uint64_t end = now_ms() + wait_for_arrival(before, after);
	     collect(), !n_sent && now_ms() < end;)
		usleep(200);
}

static bool is_pod_program(const struct place *place)
{
	return strcmp(place->name, "net");
}

/*
 * By a program, on the packet as it comes to a place, or (place NULL) leaves through ifindex. Returns what it said: a packet
 * that is redirected, or goes on to a pod, is sent; one that is passed is the stack's.
 */
static int run_program(int prog, const struct place *place, uint32_t ifindex, int family,
		       const struct packet *p, struct packet *stack, struct sluice_nl_stats *before,
		       struct sluice_nl_stats *after)
{
	uint8_t in[ETH_HLEN + MAX_BYTES], out[ETH_HLEN + 2 * MAX_BYTES];
	struct __sk_buff ctx = { .ifindex = ifindex, .ingress_ifindex = place ? ifindex : 0 };
	struct __sk_buff ctx_out = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in,
		    .data_size_in = make_frame(in, place, family, p), .data_out = out,
		    .data_size_out = sizeof(out), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx),
		    .ctx_out = &ctx_out, .ctx_size_out = sizeof(ctx_out));

	n_sent = 0;
	stats(before);
	if (bpf_prog_test_run_opts(prog, &opts))
		die("packets: BPF_PROG_RUN of %u bytes: %s", p->len, strerror(errno));
	stats(after);
	marked = ctx_out.mark & SLUICE_BPF_MARK;
	stack->len = 0;
	if (opts.retval == TC_ACT_REDIRECT || (opts.retval == TC_ACT_OK && !place))
		keep("?", out + ETH_HLEN, opts.data_size_out - ETH_HLEN);
	if (opts.retval == TC_ACT_OK) {
		stack->len = opts.data_size_out - ETH_HLEN;
		memcpy(stack->bytes, out + ETH_HLEN, stack->len);
	}
	return (int)opts.retval;
}

static const char *parse_name(int ret)
{
	switch (ret) {
	case SLUICE_PARSE_OK:
		return "ok";
	case SLUICE_PARSE_MORE:
		return "more";
	case SLUICE_PARSE_BAD_CHECKSUM:
		return "bad-checksum";
	case SLUICE_PARSE_FRAGMENT:
		return "fragment";
	case SLUICE_PARSE_UNSUPPORTED:
		return "unsupported";
	}
	return "malformed";
}

/* Parsed as the kernel would, whole; the window is longer than the packet. */
static int parse(const struct packet *p, int family, struct sluice_packet *pkt)
{
	memset(pkt, 0, sizeof(*pkt));
	return sluice_packet_parse(p->bytes, MAX_BYTES, p->len, (uint8_t)family, pkt);
}

static void print_tuple(const struct sluice_packet *pkt)
{
	const struct sluice_tuple *t = &pkt->tuple;
	int family = t->family == SLUICE_IPV4 ? AF_INET : AF_INET6;
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];

	inet_ntop(family, &t->src, src, sizeof(src));
	inet_ntop(family, &t->dst, dst, sizeof(dst));
	printf("\"tuple\":[\"%s\",\"%s\",%u,%u,%u,%u,%u]", src, dst, t->proto, ntohs(t->sport),
	       ntohs(t->dport), pkt->port, pkt->flags);
}

static uint16_t load16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return v;
}

static void apply(uint8_t *check, uint32_t delta, bool udp)
{
	uint16_t v = load16(check);

	if (udp && !v) /* there is none */
		return;
	v = sluice_csum_apply(v, delta);
	if (udp && !v)
		v = 0xffff;
	memcpy(check, &v, 2);
}

/*
 * What core/ makes of p, which looks like "from", when it leaves like "to", with one hop less. false: it has
 * nothing to say, as of an error, in which another packet is translated, or of SCTP's CRC.
 */
static bool expect(const struct packet *p, const struct sluice_packet *from,
		   const struct sluice_tuple *to, struct packet *e)
{
	struct sluice_nat_delta d;
	uint8_t *l4 = e->bytes + from->l4_off, old[2];
	bool v4 = from->tuple.family == SLUICE_IPV4;

	if (from->flags & SLUICE_PACKET_ICMP_ERROR || from->tuple.proto != to->proto)
		return false;
	sluice_nat_delta(&from->tuple, to, &d);
	memcpy(e->bytes, p->bytes, MAX_BYTES);
	e->len = p->len;
	if (v4) {
		memcpy(e->bytes + 12, &to->src, 4);
		memcpy(e->bytes + 16, &to->dst, 4);
		memcpy(old, e->bytes + 8, 2);
		e->bytes[8]--;
		apply(e->bytes + 10,
		      sluice_csum_add(d.addr,
				      sluice_csum_replace(0, load16(old), load16(e->bytes + 8))),
		      false);
	} else {
		memcpy(e->bytes + 8, &to->src, 16);
		memcpy(e->bytes + 24, &to->dst, 16);
		e->bytes[7]--;
	}
	switch (to->proto) {
	case SLUICE_PROTO_SCTP:
		if (d.port)
			return !memcmp(&from->tuple.sport, &to->sport, 2) &&
			       !memcmp(&from->tuple.dport, &to->dport, 2);
		break;
	case SLUICE_PROTO_TCP:
	case SLUICE_PROTO_UDP:
		memcpy(l4, &to->sport, 2);
		memcpy(l4 + 2, &to->dport, 2);
		apply(l4 + (to->proto == SLUICE_PROTO_TCP ? 16 : 6),
		      sluice_csum_add(d.addr, d.port), to->proto == SLUICE_PROTO_UDP);
		break;
	case SLUICE_PROTO_ICMP:
	case SLUICE_PROTO_ICMPV6:
		if (from->flags & SLUICE_PACKET_ECHO)
			memcpy(l4 + 4, to->sport ? &to->sport : &to->dport, 2);
		else
			d.port = 0;
		apply(l4 + 2,
		      to->proto == SLUICE_PROTO_ICMP ? d.port : sluice_csum_add(d.addr, d.port),
		      false);
		break;
	}
	return true;
}

static bool is_answer(const struct sluice_nl_stats *a, const struct sluice_nl_stats *b)
{
	for (unsigned int i = 0; i < SLUICE_REASON_COUNT; i++)
		if (a->drops[i] != b->drops[i])
			return true;
	return false;
}

static void one(struct place *place, int to_pod, int family, const struct packet *p)
{
	struct sluice_nl_stats before = {}, after = {};
	struct packet stack = { .len = 0 }, e;
	struct sluice_packet pkt, window, out;
	const char *comma = "";
	int ret, was = -1;

	if (!pins)
		send_real(place, family, p, &before, &after);
	else if (place)
		was = run_program(is_pod_program(place) ? prog_pod : prog_uplink, place,
				  (uint32_t)place->ifindex, family, p, &stack, &before, &after);
	else /* the node's own: met on its way out to the pod */
		was = run_program(prog_to_pod, NULL, (uint32_t)to_pod, family, p, &stack, &before,
				  &after);
	ret = parse(p, family, &pkt);
	memset(&window, 0, sizeof(window));
	printf("{\"parse\":\"%s\",\"window\":\"%s\",", parse_name(ret),
	       parse_name(sluice_packet_parse(p->bytes, WINDOW, p->len, (uint8_t)family, &window)));
	if (ret == SLUICE_PARSE_OK)
		print_tuple(&pkt);
	else
		printf("\"tuple\":null");
	printf(",");
	print_counters(&before, &after);
	printf(",\"sent\":[");
	for (unsigned int i = 0; i < n_sent; i++) {
		printf("%s[\"%s\",", comma, sent[i].where);
		print_hex(&sent[i].p);
		printf("]");
		comma = ",";
	}
	printf("],\"stack\":");
	if (was == TC_ACT_OK)
		print_hex(&stack);
	else
		printf("null");
	printf(",\"mark\":%s,\"expected\":", marked ? "true" : "false");
	if (n_sent && place && ret == SLUICE_PARSE_OK && !is_answer(&before, &after) &&
	    parse(&sent[0].p, family, &out) == SLUICE_PARSE_OK && expect(p, &pkt, &out.tuple, &e))
		print_hex(&e);
	else
		printf("null");
	printf("}\n");
}

static void add_place(char *word)
{
	struct place *place = &places[n_places++];
	char netns[64], device[32], name[IF_NAMESIZE];
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct ifreq ifr = {};

	if (n_places > MAX_PLACES || sscanf(word, "%63[^=]=%63[^/]/%31[^/]/%d", place->name, netns,
					    device, &place->ifindex) != 4)
		die("packets: \"%s\" is not PLACE=NETNS/DEVICE/IFINDEX", word);
	if (!if_indextoname((unsigned int)place->ifindex, name))
		die("packets: no interface %d here", place->ifindex);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	place->fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (ioctl(place->fd, SIOCGIFHWADDR, &ifr))
		die("packets: %s: %s", name, strerror(errno));
	close(place->fd);
	memcpy(place->mac, ifr.ifr_hwaddr.sa_data, 6);
	place->fd = -1;
	if (pins)
		return;
	netns_enter(netns);
	at.sll_ifindex = (int)if_nametoindex(device);
	place->fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	if (!at.sll_ifindex || place->fd < 0 || bind(place->fd, (void *)&at, sizeof(at)))
		die("packets: %s of %s: %s", device, netns, strerror(errno));
	socket_deepen(place->fd);
	netns_enter("-");
}

static int program(const char *name)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/prog-%s", pins, name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		die("packets: %s: %s", path, strerror(errno));
	return fd;
}

static void raw_sockets(void)
{
	int one = 1, mark = MARK_OF_NODE;

	raw4 = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	raw6 = socket(AF_INET6, SOCK_RAW, IPPROTO_RAW);
	if (raw4 < 0 || raw6 < 0 || setsockopt(raw4, IPPROTO_IP, IP_HDRINCL, &one, sizeof(one)) ||
	    setsockopt(raw4, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) ||
	    setsockopt(raw6, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)))
		die("packets: raw sockets: %s", strerror(errno));
}

static void unhex(const char *hex, struct packet *p)
{
	unsigned int byte;

	memset(p->bytes, 0, sizeof(p->bytes));
	for (p->len = 0; p->len < MAX_BYTES && sscanf(hex + 2 * p->len, "%2x", &byte) == 1;
	     p->len++)
		p->bytes[p->len] = (uint8_t)byte;
}

int main(int argc, char **argv)
{
	static char line[4 * MAX_BYTES], hex[4 * MAX_BYTES];
	struct sluice_err err = {};
	char name[64], to[64];
	struct packet p;
	int i = 1, family;

	if (argc > 2 && !strcmp(argv[1], "--programs")) {
		pins = argv[2];
		i = 3;
	}
	for (; i < argc; i++)
		add_place(argv[i]);
	if (!n_places)
		die("packets: want PLACE=NETNS/DEVICE/IFINDEX...");
	if (sluice_nl_open(&nl, &err))
		die("packets: no data plane: %s", strerror(err.code));
	if (strcmp(sluice_nl_dataplane(&nl), pins ? "bpf" : "module"))
		die("packets: the data plane here is %s", sluice_nl_dataplane(&nl));
	if (pins) {
		prog_pod = program("sluice_pod");
		prog_uplink = program("sluice_uplink");
		prog_to_pod = program("sluice_to_pod");
	} else {
		raw_sockets();
	}
	while (fgets(line, sizeof(line), stdin)) {
		struct place *place = NULL;
		int to_pod = 0;

		if (sscanf(line, "%63s %d %16383s", name, &family, hex) != 3)
			die("packets: \"%.80s\" is not PLACE FAMILY HEX", line);
		unhex(hex, &p);
		/* "node>POD" says to which of them, as the node would find out by its routes. */
		if (sscanf(name, "node>%63s", to) == 1)
			snprintf(name, sizeof(name), "%s", to);
		else
			to[0] = '\0';
		for (unsigned int n = 0; n < n_places; n++)
			if (!strcmp(places[n].name, name))
				place = &places[n];
		if (!place)
			die("packets: no place \"%s\"", name);
		if (to[0]) {
			to_pod = place->ifindex;
			place = NULL;
		}
		one(place, to_pod, family, &p);
	}
	sluice_nl_close(&nl);
	return 0;
}
