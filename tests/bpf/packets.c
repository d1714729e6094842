// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames through the programs: each test says what comes in and what must come out.
 *
 *     pod a 10.1.0.1 fd00::a          pod b 10.1.0.2 fd00::b         services 10.96.0.0/24, fd00:96::
 *          |                               |
 *     ---- a --------- the node ---------- b ----
 *                  |              |
 *                 up              other 198.51.100.1
 *        192.0.2.1, 2001:db8::1
 *        default route via 192.0.2.254
 *
 * usage: packets OBJECT
 */
#include <pthread.h>
#include "bed.h"
#include "ruleset_blob.h"

#define VIP4 "10.96.0.1"
#define VIP6 "fd00:96::1"
#define FAR4 "10.2.0.9" /* a pod of another node */
#define FAR6 "fd00:2::9"
#define OUT4 "203.0.113.7"
#define NODE4 "192.0.2.1"
#define NODE6 "2001:db8::1"

#define SYN 0x02
#define ACK 0x10
#define FIN 0x01
#define RST 0x04

#define OPEN (SLUICE_BPF_ENDPOINT_PRESENT | SLUICE_BPF_ENDPOINT_OPEN)
#define SLOT_DENY 1

static void set_up(void)
{
	uint8_t family;

	open_pods();
	set_service(VIP4, 80, IPPROTO_TCP, B4, 8080);
	set_service(VIP4, 53, IPPROTO_UDP, B4, 5353);
	set_service(VIP4, 81, IPPROTO_TCP, B4, 81);
	set_service(VIP4, 9, IPPROTO_TCP, NULL, 0);
	set_service(VIP4, 9, IPPROTO_UDP, NULL, 0);
	set_service(VIP4, 82, IPPROTO_TCP, FAR4, 82);
	set_service(VIP4, 83, IPPROTO_UDP, A4, 83);
	set_service(VIP4, 84, IPPROTO_SCTP, B4, 84);
	set_service(VIP4, 85, IPPROTO_SCTP, B4, 8585);
	set_service(VIP6, 80, IPPROTO_TCP, B6, 8080);
	set_service(VIP6, 53, IPPROTO_UDP, B6, 5353);
	set_service(VIP6, 9, IPPROTO_TCP, NULL, 0);
	set_service(VIP6, 9, IPPROTO_UDP, NULL, 0);
	bed.control->masquerade[0] = addr_of(NODE4, &family);
	bed.control->masquerade[1] = addr_of(NODE6, &family);
}

/* Puts a ruleset that allows nothing into a slot. */
static void set_deny(uint32_t slot)
{
	struct blob_rules none = { .default_action = SLUICE_ACTION_DENY };
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_INNER_MAP);
	struct sluice_ruleset *rs = blob_build(&none);
	uint8_t piece[SLUICE_BLOB_PIECE] = {};
	uint32_t zero = 0;
	int fd;

	memcpy(piece, rs, rs->size);
	free(rs);
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "ruleset", 4, sizeof(piece), 1, &opts);
	if (fd < 0 || bpf_map_update_elem(fd, &zero, piece, 0)) {
		printf("Bail out! a ruleset: %s\n", strerror(errno));
		exit(1);
	}
	map_set("rulesets", &slot, &fd);
}

/* The frame that came out is right in itself, and from there to there. */
#define went(a, src, sport, dst, dport) \
	((a).ret == SENT && frame_is(&(a).f, src, sport, dst, dport) && frame_sums_right(&(a).f))

/* The same for both families. */
struct family {
	uint8_t family;
	const char *name, *a, *b, *vip;
};

static const struct family families[] = {
	{ SLUICE_IPV4, "IPv4", A4, B4, VIP4 },
	{ SLUICE_IPV6, "IPv6", A6, B6, VIP6 },
};

static void test_udp(const struct family *v)
{
	struct sluice_bpf_conn *c;
	struct answer a;
	uint32_t i;

	bed_reset();
	a = SEND(IF_A, v->a, v->vip, 1000, 53, IPPROTO_UDP, .payload = 20);
	ok(went(a, v->a, 1000, v->b, 5353) && frame_ttl(&a.f) == 63,
	   "%s: UDP to a service reaches its backend", v->name);
	c = conn_any(v->family);
	ok(c && c->state == SLUICE_STATE_UNREPLIED &&
		   c->bits == (SLUICE_BPF_LIVE | SLUICE_BPF_SERVICE | SLUICE_BPF_NAT) &&
		   c->side[0] == (SLUICE_BPF_SIDE_POD << 30 | ifindex[IF_A]) &&
		   c->side[1] == (SLUICE_BPF_SIDE_POD << 30 | ifindex[IF_B]) &&
		   c->verdict == SLUICE_VERDICT_ALLOW && c->reason == SLUICE_REASON_NO_POLICY,
	   "%s: and is remembered", v->name);
	a = SEND(IF_B, v->b, v->a, 5353, 1000, IPPROTO_UDP, .payload = 21);
	ok(went(a, v->vip, 53, v->a, 1000), "%s: its answer comes from the service", v->name);
	is_u64(state_of(v->family), SLUICE_STATE_REPLIED, "%s: which is a reply", v->name);
	for (i = 0; i < 64; i++) {
		a = SEND(IF_A, v->a, v->vip, 1000, 53, IPPROTO_UDP, .payload = i);
		check(went(a, v->a, 1000, v->b, 5353) && frame_ttl(&a.f) == 63, "%u bytes there",
		      i);
		a = SEND(IF_B, v->b, v->a, 5353, 1000, IPPROTO_UDP, .payload = i, .ttl = 255);
		check(went(a, v->vip, 53, v->a, 1000) && frame_ttl(&a.f) == 254, "%u bytes back",
		      i);
	}
	ok_checks("%s: so does all that follows", v->name);
	ok(c->packets[0] == 65 && c->packets[1] == 65, "%s: and is counted", v->name);
	is_u64(c->bytes[0], 65 * (v->family == SLUICE_IPV4 ? 28 : 48) + 20 + 63 * 64 / 2,
	       "%s: by its bytes too", v->name);
	ok(bed_stats().hits == 129 && bed_stats().misses == 1 && bed_stats().created == 1 &&
		   bed_stats().fast_pod == 130,
	   "%s: one miss, then hits", v->name);
	a = SEND(IF_A, v->a, v->b, 1000, 7000, IPPROTO_UDP, .payload = 3);
	ok(went(a, v->a, 1000, v->b, 7000), "%s: pod to pod, nothing is translated", v->name);
	a = SEND(IF_A, v->a, v->b, 1000, 7000, IPPROTO_UDP, .payload = 3);
	ok(went(a, v->a, 1000, v->b, 7000), "%s: nor the second time", v->name);
	if (v->family == SLUICE_IPV6)
		return;
	a = SEND(IF_A, v->a, v->vip, 1001, 53, IPPROTO_UDP, .payload = 20, .no_sum = true);
	ok(went(a, v->a, 1001, v->b, 5353) && !get16(a.f.b + 40),
	   "%s: a datagram without checksum keeps none", v->name);
	a = SEND(IF_A, v->a, v->vip, 1001, 53, IPPROTO_UDP, .payload = 20, .no_sum = true);
	ok(went(a, v->a, 1001, v->b, 5353) && !get16(a.f.b + 40), "%s: nor the second", v->name);
}

static void test_tcp(const struct family *v)
{
	struct answer a;

	bed_reset();
	a = SEND(IF_A, v->a, v->vip, 1000, 80, IPPROTO_TCP, .flags = SYN, .seq = 100);
	ok(went(a, v->a, 1000, v->b, 8080), "%s: TCP to a service reaches its backend", v->name);
	is_u64(state_of(v->family), SLUICE_STATE_TCP_SYN_SENT, "%s: SYN", v->name);
	a = SEND(IF_B, v->b, v->a, 8080, 1000, IPPROTO_TCP, .flags = SYN | ACK, .seq = 500,
		 .ack = 101);
	ok(went(a, v->vip, 80, v->a, 1000), "%s: the answer comes from the service", v->name);
	is_u64(state_of(v->family), SLUICE_STATE_TCP_SYN_RECV, "%s: SYN and ACK", v->name);
	a = SEND(IF_A, v->a, v->vip, 1000, 80, IPPROTO_TCP, .flags = ACK, .seq = 101, .ack = 501);
	ok(went(a, v->a, 1000, v->b, 8080), "%s: the handshake's end", v->name);
	is_u64(state_of(v->family), SLUICE_STATE_TCP_ESTABLISHED, "%s: established", v->name);
	a = SEND(IF_A, v->a, v->vip, 1000, 80, IPPROTO_TCP, .flags = ACK, .seq = 101, .ack = 501,
		 .payload = 100);
	ok(went(a, v->a, 1000, v->b, 8080), "%s: data", v->name);
	a = SEND(IF_B, v->b, v->a, 8080, 1000, IPPROTO_TCP, .flags = ACK, .seq = 501, .ack = 201,
		 .payload = 11);
	ok(went(a, v->vip, 80, v->a, 1000), "%s: and back", v->name);
	is_u64(conn_any(v->family)->tcp[0].end, 201, "%s: what was sent is known", v->name);
	is_u64(conn_any(v->family)->tcp[1].ack, 201, "%s: and what was acknowledged", v->name);
	a = SEND(IF_A, v->a, v->vip, 1000, 80, IPPROTO_TCP, .flags = RST, .seq = 999999);
	ok(went(a, v->a, 1000, v->b, 8080) && state_of(v->family) == SLUICE_STATE_TCP_ESTABLISHED,
	   "%s: a reset outside the window changes nothing", v->name);
	a = SEND(IF_A, v->a, v->vip, 1000, 80, IPPROTO_TCP, .flags = FIN | ACK, .seq = 201,
		 .ack = 512);
	ok(went(a, v->a, 1000, v->b, 8080) && state_of(v->family) == SLUICE_STATE_TCP_FIN_WAIT,
	   "%s: FIN", v->name);
	SEND(IF_B, v->b, v->a, 8080, 1000, IPPROTO_TCP, .flags = ACK, .seq = 512, .ack = 202);
	is_u64(state_of(v->family), SLUICE_STATE_TCP_CLOSE_WAIT, "%s: acknowledged", v->name);
	SEND(IF_B, v->b, v->a, 8080, 1000, IPPROTO_TCP, .flags = FIN | ACK, .seq = 512, .ack = 202);
	is_u64(state_of(v->family), SLUICE_STATE_TCP_LAST_ACK, "%s: the other FIN", v->name);
	SEND(IF_A, v->a, v->vip, 1000, 80, IPPROTO_TCP, .flags = ACK, .seq = 202, .ack = 513);
	is_u64(state_of(v->family), SLUICE_STATE_TCP_TIME_WAIT, "%s: closed", v->name);
	a = SEND(IF_A, v->a, v->vip, 1000, 80, IPPROTO_TCP, .flags = SYN, .seq = 90000);
	ok(went(a, v->a, 1000, v->b, 8080) && state_of(v->family) == SLUICE_STATE_TCP_SYN_SENT &&
		   bed_stats().created == 2 && conns_alive(v->family) == 1,
	   "%s: a new connection takes the place of a closed one", v->name);
	a = SEND(IF_A, v->a, v->vip, 1001, 80, IPPROTO_TCP, .flags = SYN | FIN);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_TCP_FLAGS) == 1, "%s: no such flags", v->name);
	a = SEND(IF_A, v->a, v->b, 1001, 80, IPPROTO_TCP, .flags = RST);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_NO_CONNECTION) == 1, "%s: a reset opens nothing",
	   v->name);
	a = SEND(IF_A, v->a, v->b, 1002, 80, IPPROTO_TCP, .flags = ACK, .seq = 5, .ack = 6);
	ok(went(a, v->a, 1002, v->b, 80) && state_of(v->family) == SLUICE_STATE_TCP_MIDSTREAM,
	   "%s: what is in mid-stream is picked up", v->name);
	a = SEND(IF_A, v->a, v->vip, 1003, 80, IPPROTO_TCP, .flags = ACK, .seq = 5, .ack = 6);
	ok(a.ret == SENT && frame_is(&a.f, v->vip, 80, v->a, 1003) && frame_sums_right(&a.f) &&
		   a.f.b[frame_l4(&a.f) + 13] == RST && get32(a.f.b + frame_l4(&a.f) + 4) == 6 &&
		   drops(SLUICE_REASON_NO_CONNECTION) == 2,
	   "%s: but not to a service, which resets it", v->name);
}

static void test_echo(const struct family *v)
{
	bool v4 = v->family == SLUICE_IPV4;
	uint8_t proto = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, request = v4 ? 8 : 128,
		reply = v4 ? 0 : 129;
	struct answer a;

	bed_reset();
	a = SEND(IF_A, v->a, v->b, 77, .proto = proto, .type = request, .payload = 30);
	ok(went(a, v->a, 0, v->b, 0), "%s: an echo request", v->name);
	a = SEND(IF_B, v->b, v->a, 77, .proto = proto, .type = reply, .payload = 30);
	ok(went(a, v->b, 0, v->a, 0) && state_of(v->family) == SLUICE_STATE_ICMP_REPLIED,
	   "%s: and its reply", v->name);
	a = SEND(IF_B, v->b, v->a, 78, .proto = proto, .type = reply, .payload = 30);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_NO_CONNECTION) == 1,
	   "%s: a reply that nobody asked for", v->name);
	a = SEND(IF_A, v->a, v->vip, 77, .proto = proto, .type = request, .payload = 30);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_SERVICE_PORT) == 1,
	   "%s: a service does not answer it", v->name);
}

/* What complains about a packet to the backend reaches the client as one about the service. */
static void test_icmp_error(const struct family *v)
{
	bool v4 = v->family == SLUICE_IPV4;
	uint8_t proto = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, type = v4 ? 3 : 1, code = v4 ? 3 : 4;
	struct frame sent, inner;
	struct answer a;

	bed_reset();
	sent = frame_make(&(struct spec){ v->a, v->vip, 1000, 53, IPPROTO_UDP, .payload = 40 });
	a = run(IF_A, &sent);
	a = SEND(IF_B, v->b, v->a, .proto = proto, .type = type, .code = code, .inner = &a.f,
		 .inner_len = v4 ? 28 : 88);
	memset(&inner, 0, sizeof(inner));
	memcpy(inner.b + FRAME_L3, a.f.b + frame_l4(&a.f) + 8, a.f.len - frame_l4(&a.f) - 8);
	inner.len = FRAME_L3 + a.f.len - frame_l4(&a.f) - 8;
	ok(went(a, v->vip, 0, v->a, 0) && frame_is(&inner, v->a, 1000, v->vip, 53),
	   "%s: an error about a packet to a service's backend", v->name);
	ok(!v4 || frame_sum(0, inner.b + FRAME_L3, 20) == 0xffff,
	   "%s: the header inside it is right", v->name);
	for (uint32_t payload = 190; payload < 1200;
	     payload += 97) { /* pieces of 256 bytes, and what is left */
		struct frame error;

		sent = frame_make(
			&(struct spec){ v->a, v->b, 1000, 5353, IPPROTO_UDP, .payload = payload });
		error = frame_make(&(struct spec){ v->b, v->a, .proto = proto, .type = type,
						   .code = code, .inner = &sent });
		a = run(IF_B, &error);
		check(went(a, v->vip, 0, v->a, 0), "%u bytes", error.len);
		error.b[error.len - 1 - payload % 2] ^= 0x40;
		a = run(IF_B, &error);
		check(a.ret == DROPPED, "%u bytes spoilt", error.len);
	}
	ok_checks("%s: errors are summed", v->name);
	is_u64(drops(SLUICE_REASON_BAD_CHECKSUM), 11, "%s: those that are wrong are counted",
	       v->name);
	sent = frame_make(&(struct spec){ v->a, v->b, 4444, 53, IPPROTO_UDP, .payload = 40 });
	a = SEND(IF_UP, v4 ? "203.0.113.1" : "2001:db8:1::1", v->a, .proto = proto, .type = type,
		 .code = 0, .inner = &sent);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_ICMP_UNRELATED) == 1,
	   "%s: one about nothing that is known", v->name);
	sent = frame_make(&(struct spec){ v->a, v->b, 1000, 5353, IPPROTO_UDP, .payload = 40 });
	a = SEND(IF_UP, v4 ? "203.0.113.1" : "2001:db8:1::1", v->a, .proto = proto, .type = type,
		 .code = 0, .inner = &sent);
	ok(went(a, v4 ? "203.0.113.1" : "2001:db8:1::1", 0, v->a, 0),
	   "%s: one by a router on the way keeps its source", v->name);
	a = SEND(IF_A, v->a, v->b, .proto = proto, .type = type, .code = code, .inner = &sent);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_SPOOFED_SOURCE) == 1,
	   "%s: a pod does not complain about what was not sent to it", v->name);
}

static void test_reject(const struct family *v)
{
	bool v4 = v->family == SLUICE_IPV4;
	const uint8_t *l4;
	struct answer a;

	bed_reset();
	a = SEND(IF_A, v->a, v->vip, 1000, 9, IPPROTO_TCP, .flags = SYN, .seq = 100);
	l4 = a.f.b + frame_l4(&a.f);
	ok(went(a, v->vip, 9, v->a, 1000) && l4[13] == (RST | ACK) && get32(l4 + 8) == 101 &&
		   a.f.len == (v4 ? 54 : 74),
	   "%s: TCP to a service without endpoints is reset", v->name);
	ok(a.f.b[0] == 2 && a.f.b[1] == 2 && a.f.b[6] == 2 && a.f.b[11] == IF_A + 1,
	   "%s: the frame goes back", v->name);
	ok(a.mark & SLUICE_BPF_MARK_ANSWER, "%s: and nobody looks at it again", v->name);
	/* As long as the answer; see BED_SUMMED. */
	a = SEND(IF_A, v->a, v->vip, 1000, 9, IPPROTO_UDP, .payload = v4 ? 28 : 48);
	l4 = a.f.b + frame_l4(&a.f);
	ok(went(a, v->vip, 0, v->a, 0) && l4[0] == (v4 ? 3 : 1) && l4[1] == (v4 ? 3 : 4),
	   "%s: UDP is answered with port unreachable", v->name);
	l4 += 8 + (v4 ? 20 : 40);
	ok(get16(l4) == 1000 && get16(l4 + 2) == 9, "%s: which quotes it", v->name);
	is_u64(drops(SLUICE_REASON_NO_ENDPOINTS), 2, "%s: both are counted", v->name);
	a = SEND(IF_A, v->a, v->vip, 1000, 4444, IPPROTO_TCP, .flags = SYN);
	ok(went(a, v->vip, 4444, v->a, 1000) && drops(SLUICE_REASON_SERVICE_PORT) == 1,
	   "%s: no such port of a service", v->name);
	a = SEND(IF_A, v->a, v->vip, 1000, 4444, IPPROTO_TCP, .flags = RST);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_SERVICE_PORT) == 2,
	   "%s: a reset is not answered", v->name);
	is_u64(conns_alive(v->family), 0, "%s: nothing is remembered", v->name);
}

static void test_policy(const struct family *v)
{
	struct answer a;

	bed_reset();
	set_endpoint(IF_B, OPEN, SLOT_DENY, 0);
	a = SEND(IF_A, v->a, v->vip, 1000, 53, IPPROTO_UDP);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_DEFAULT_DENY) == 1, "%s: policy denies",
	   v->name);
	ok(state_of(v->family) == SLUICE_STATE_DENIED && conns_alive(v->family) == 1,
	   "%s: which is remembered", v->name);
	a = SEND(IF_A, v->a, v->vip, 1000, 53, IPPROTO_UDP);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_DEFAULT_DENY) == 2 && bed_stats().hits == 1 &&
		   bed_stats().misses == 1,
	   "%s: the second packet costs one look-up", v->name);
	open_endpoint(IF_B);
	a = SEND(IF_A, v->a, v->vip, 1000, 53, IPPROTO_UDP);
	ok(went(a, v->a, 1000, v->b, 5353) && conns_alive(v->family) == 1,
	   "%s: until policy changes", v->name);
	new_policy();
	a = SEND(IF_A, v->a, v->vip, 1000, 53, IPPROTO_UDP);
	ok(went(a, v->a, 1000, v->b, 5353) && bed_stats().rejudged == 1,
	   "%s: a connection is judged again", v->name);
	set_endpoint(IF_B, OPEN, SLOT_DENY, 0);
	a = SEND(IF_B, v->b, v->a, 5353, 1000, IPPROTO_UDP);
	ok(a.ret == DROPPED && bed_stats().cut == 1 && state_of(v->family) == SLUICE_STATE_DENIED,
	   "%s: and cut when it is no longer allowed, also by an answer", v->name);
	open_endpoint(IF_B);
	set_endpoint(IF_A, OPEN, 0, SLOT_DENY);
	a = SEND(IF_A, v->a, v->b, 1000, 53, IPPROTO_UDP);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_DEFAULT_DENY) == 4, "%s: egress", v->name);
	a = SEND(IF_A, v->a, v->family == SLUICE_IPV4 ? NODE4 : NODE6, 1000, 53, IPPROTO_UDP);
	ok(a.ret == PASSED && (a.mark & SLUICE_BPF_MARK) &&
		   conn_any(v->family)->reason == SLUICE_REASON_NODE,
	   "%s: but the node", v->name);
	open_endpoint(IF_A);
	set_endpoint(IF_B, SLUICE_BPF_ENDPOINT_PRESENT, 0, 0);
	a = SEND(IF_A, v->a, v->b, 1001, 53, IPPROTO_UDP);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_ENDPOINT_CLOSED) == 1,
	   "%s: towards a pod that is not open yet", v->name);
	a = SEND(IF_B, v->b, v->a, 1001, 53, IPPROTO_UDP);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_ENDPOINT_CLOSED) == 2, "%s: and from it",
	   v->name);
	open_endpoint(IF_B);
}

static void test_policy_gives_way(const struct family *v)
{
	struct answer a;

	bed_reset();
	set_endpoint(IF_B, OPEN, SLOT_DENY, 0);
	a = SEND(IF_A, v->a, v->b, 1000, 53, IPPROTO_UDP);
	ok(a.ret == DROPPED && state_of(v->family) == SLUICE_STATE_DENIED,
	   "%s: a denied flow is remembered", v->name);
	a = SEND(IF_B, v->b, v->a, 53, 1000, IPPROTO_UDP);
	ok(went(a, v->b, 53, v->a, 1000) && bed_stats().remapped == 0,
	   "%s: and gives way to a connection that is allowed the other way", v->name);
	a = SEND(IF_A, v->a, v->b, 1000, 53, IPPROTO_UDP);
	ok(went(a, v->a, 1000, v->b, 53) && conns_alive(v->family) == 1,
	   "%s: whose answers may come", v->name);
	open_endpoint(IF_B);
}

static void test_sources(void)
{
	struct answer a;

	bed_reset();
	a = SEND(IF_A, B4, A4, 1000, 53, IPPROTO_UDP);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_SPOOFED_SOURCE) == 1,
	   "an address of another pod");
	ok(!conns_alive(SLUICE_IPV4), "does not speak for it");
	SEND(IF_A, A4, B4, 1000, 53, IPPROTO_UDP);
	a = SEND(IF_UP, A4, B4, 1000, 53, IPPROTO_UDP);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_SPOOFED_SOURCE) == 2,
	   "a known connection's packet from elsewhere");
	a = SEND(IF_A, B4, A4, 53, 1000, IPPROTO_UDP);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_SPOOFED_SOURCE) == 3, "and its answer");
	a = SEND(IF_UP, A4, B4, 1001, 53, IPPROTO_UDP);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_SPOOFED_SOURCE) == 4,
	   "a pod's address from outside");
	a = SEND(IF_UP, "127.0.0.1", B4, 1001, 53, IPPROTO_UDP);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_MARTIAN) == 1,
	   "an address of nobody from outside");
	a = SEND(IF_A, A4, "127.0.0.1", 1001, 53, IPPROTO_UDP);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_MARTIAN) == 2, "and to it");
	is_u64(conns_alive(SLUICE_IPV4), 1, "none of these is remembered");
}

static void test_outside(void)
{
	struct sluice_bpf_conn *c;
	struct answer a;

	bed_reset();
	a = SEND(IF_UP, OUT4, B4, 1000, 53, IPPROTO_UDP);
	ok(went(a, OUT4, 1000, B4, 53), "from outside to a pod");
	a = SEND(IF_B, B4, OUT4, 53, 1000, IPPROTO_UDP);
	c = conn_any(SLUICE_IPV4);
	ok(went(a, B4, 53, OUT4, 1000) && c->side[0] >> 30 == SLUICE_BPF_SIDE_ROUTE,
	   "the answer leaves by the uplink");
	a = SEND(IF_B, B4, OUT4, 53, 1000, IPPROTO_UDP);
	ok(went(a, B4, 53, OUT4, 1000) && bed_stats().fast_uplink == 2, "and the next");
	a = SEND(IF_UP, OUT4, NODE4, 1000, 53, IPPROTO_UDP);
	ok(a.ret == PASSED && !a.mark && bed_stats().foreign == 1,
	   "what is not for us is the stack's");
	a = SEND(IF_UP, OUT4, VIP4, 1000, 82, IPPROTO_TCP, .flags = SYN);
	ok(went(a, NODE4, 1000, FAR4, 82),
	   "a client outside, a backend elsewhere: by the node's address");
	a = SEND(IF_UP, FAR4, NODE4, 82, 1000, IPPROTO_TCP, .flags = SYN | ACK, .seq = 3, .ack = 1);
	ok(went(a, VIP4, 82, OUT4, 1000), "and the answer finds back");
	a = SEND(IF_A, A4, VIP4, 1000, 82, IPPROTO_TCP, .flags = SYN);
	ok(went(a, A4, 1000, FAR4, 82), "a backend on another node keeps the pod's address");
	a = SEND(IF_UP, FAR4, A4, 82, 1000, IPPROTO_TCP, .flags = SYN | ACK, .seq = 3, .ack = 1);
	ok(went(a, VIP4, 82, A4, 1000), "its answer comes from the service");
	a = SEND(IF_A, A4, "198.51.100.9", 1000, 9, IPPROTO_UDP);
	ok(a.ret == PASSED && (a.mark & SLUICE_BPF_MARK) && frame_ttl(&a.f) == 64,
	   "by an interface that is no uplink: the stack");
	ok(conn_any(SLUICE_IPV4)->side[1] >> 30 == SLUICE_BPF_SIDE_STACK, "from then on");
}

static void test_node(void)
{
	struct frame f = frame_make(&(struct spec){ NODE4, A4, 1000, 53, IPPROTO_UDP });
	struct sluice_bpf_conn *c;
	struct answer a;

	bed_reset();
	set_endpoint(IF_A, OPEN, SLOT_DENY, SLOT_DENY);
	a = run_at("sluice_to_pod", &f, IF_A, 0, 0);
	c = conn_any(SLUICE_IPV4);
	ok(a.ret == PASSED && !a.mark && frame_ttl(&a.f) == 64 && c &&
		   c->reason == SLUICE_REASON_NODE && (c->bits & SLUICE_BPF_NODE),
	   "the node reaches its pods");
	a = SEND(IF_A, A4, NODE4, 53, 1000, IPPROTO_UDP);
	ok(a.ret == PASSED && (a.mark & SLUICE_BPF_MARK) && c->packets[1] == 1, "and they answer");
	f = frame_make(&(struct spec){ "198.51.100.9", A4, 1000, 53, IPPROTO_UDP });
	a = run_at("sluice_to_pod", &f, IF_A, ifindex[IF_OTHER], 0);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_DEFAULT_DENY) == 1,
	   "no way around policy by another interface");
	a = run_at("sluice_to_pod", &f, IF_A, ifindex[IF_OTHER], SLUICE_BPF_MARK | 1);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_DEFAULT_DENY) == 2,
	   "nor by what others translate it to after it was handled");
	a = run_at("sluice_to_pod", &f, IF_A, ifindex[IF_OTHER], SLUICE_BPF_MARK_ANSWER | 1);
	ok(a.ret == PASSED && a.mark == 1, "what we answer ourselves passes");
	open_endpoint(IF_A);
	f = frame_make(&(struct spec){ "198.51.100.8", A4, 1000, 53, IPPROTO_UDP });
	run(IF_UP, &f);
	a = run_at("sluice_to_pod", &f, IF_A, ifindex[IF_UP], SLUICE_BPF_MARK | 1);
	ok(a.ret == PASSED && a.mark == 1, "what was handled before passes");
	f = frame_make(&(struct spec){ "198.51.100.9", A4, 1000, 53, IPPROTO_UDP });
	a = run_at("sluice_to_pod", &f, IF_A, ifindex[IF_OTHER], 0);
	ok(a.ret == PASSED && conns_alive(SLUICE_IPV4) == 3, "where policy allows, it passes");
	a = SEND(IF_A, A4, VIP4, 1000, 83, IPPROTO_UDP);
	ok(went(a, NODE4, 1000, A4, 83), "a pod reaches itself by the node's address");
	a = SEND(IF_A, A4, NODE4, 83, 1000, IPPROTO_UDP);
	ok(went(a, VIP4, 83, A4, 1000) && conn_any(SLUICE_IPV4)->reason == SLUICE_REASON_SELF,
	   "and gets its answer from the service");
}

static void test_remap(void)
{
	struct answer a;
	uint16_t port;
	uint32_t i;

	bed_reset();
	SEND(IF_A, A4, B4, 40000, 81, IPPROTO_TCP, .flags = SYN);
	a = SEND(IF_A, A4, VIP4, 40000, 81, IPPROTO_TCP, .flags = SYN);
	port = get16(a.f.b + 34);
	ok(went(a, A4, port, B4, 81) && port != 40000 && port >= 1024,
	   "two connections that would share a reply: another source port");
	ok((conn_any(SLUICE_IPV4)->bits & SLUICE_BPF_REMAPPED) && bed_stats().remapped == 1,
	   "which is said");
	a = SEND(IF_B, B4, A4, 81, port, IPPROTO_TCP, .flags = SYN | ACK);
	ok(went(a, VIP4, 81, A4, 40000), "its answer finds back");
	a = SEND(IF_B, B4, A4, 81, 40000, IPPROTO_TCP, .flags = SYN | ACK);
	ok(went(a, B4, 81, A4, 40000), "and so does the other's");
	bed_reset();
	for (i = 0; i < 200; i++) {
		a = SEND(IF_A, A4, B4, (uint16_t)(20000 + 11 * i), 81, IPPROTO_TCP, .flags = SYN);
		check(went(a, A4, (uint16_t)(20000 + 11 * i), B4, 81), "connection %u", i);
	}
	for (i = 0; i < 200; i++) {
		a = SEND(IF_A, A4, VIP4, (uint16_t)(20000 + 11 * i), 81, IPPROTO_TCP, .flags = SYN);
		check(a.ret == SENT && frame_sums_right(&a.f) &&
			      get16(a.f.b + 34) != 20000 + 11 * i,
		      "service connection %u", i);
	}
	for (i = 0; i < 200; i++) {
		a = SEND(IF_A, A4, B4, (uint16_t)(20000 + 11 * i), 81, IPPROTO_TCP, .flags = SYN);
		check(went(a, A4, (uint16_t)(20000 + 11 * i), B4, 81), "again %u", i);
	}
	ok_checks("400 connections in 64 buckets are found again");
	is_u64(conns_alive(SLUICE_IPV4), 400, "and are as many");
}

static void test_limits(void)
{
	struct sluice_bpf_table *t = &bed.control->table[0];
	struct answer a;

	bed_reset();
	t->limit = 1;
	SEND(IF_A, A4, B4, 1, 53, IPPROTO_UDP);
	a = SEND(IF_A, A4, B4, 2, 53, IPPROTO_UDP);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_TABLE_FULL) == 1 && t->used == 1,
	   "the budget is used");
	t->limit = BED_OBJECTS;
	t->free = 0;
	a = SEND(IF_A, A4, B4, 2, 53, IPPROTO_UDP);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_TABLE_FULL) == 2, "and there are no objects");

	bed_reset();
	SEND(IF_A, A4, VIP4, 1000, 53, IPPROTO_UDP);
	conn_any(SLUICE_IPV4)->last_seen = ticks() - 31 * 954;
	a = SEND(IF_B, B4, A4, 5353, 1000, IPPROTO_UDP);
	ok(went(a, B4, 5353, A4, 1000) && bed_stats().expired == 1 && bed_stats().created == 2,
	   "a connection whose time is over is gone at once");
	is_u64(t->alive, 1, "and is not counted");

	bed_reset();
	a = SEND(IF_A, A4, B4, 1, 53, IPPROTO_UDP, .ttl = 1);
	ok(a.ret == PASSED && (a.mark & SLUICE_BPF_MARK) && frame_ttl(&a.f) == 1,
	   "the last hop is the stack's");
	a = SEND(IF_A, A4, VIP4, 1, 53, IPPROTO_UDP, .payload = 1473);
	ok(a.ret == PASSED && (a.mark & SLUICE_BPF_MARK) && frame_is(&a.f, A4, 1, B4, 5353) &&
		   frame_sums_right(&a.f),
	   "so is what is too large, translated");
	a = SEND(IF_A, A4, VIP4, 1, 53, IPPROTO_UDP, .payload = 1472);
	ok(went(a, A4, 1, B4, 5353), "and what just fits is not");
	a = SEND(IF_A, A4, "203.0.113.9", 1, 53, IPPROTO_UDP, .payload = 1473);
	ok(a.ret == PASSED && (a.mark & SLUICE_BPF_MARK), "nor by an uplink");
}

/* Each segment must fit, with its headers; the whole need not. The uplink's MTU is 1500. */
static void test_segments(const struct family *v)
{
	uint32_t l3 = v->family == SLUICE_IPV4 ? 20 : 40, i;
	const char *out = v->family == SLUICE_IPV4 ? OUT4 : "2001:db8:1::9";
	struct answer a;

	bed_reset();
	SEND(IF_A, v->a, out, 1000, 80, IPPROTO_TCP, .flags = SYN, .seq = 1);
	SEND(IF_UP, out, v->a, 80, 1000, IPPROTO_TCP, .flags = SYN | ACK, .seq = 9, .ack = 2);
	for (i = 0; i < 3; i++) { /* by its state, the general way and the fast one */
		bed.gso_size = 1500 - l3 - 20;
		a = SEND(IF_A, v->a, out, 1000, 80, IPPROTO_TCP, .flags = ACK, .seq = 2, .ack = 10,
			 .payload = 3000);
		check(went(a, v->a, 1000, out, 80) && frame_ttl(&a.f) == 63, "TCP that fits");
		bed.gso_size++;
		a = SEND(IF_A, v->a, out, 1000, 80, IPPROTO_TCP, .flags = ACK, .seq = 2, .ack = 10,
			 .payload = 3000);
		check(a.ret == PASSED && (a.mark & SLUICE_BPF_MARK) && frame_ttl(&a.f) == 64,
		      "TCP that does not");
		bed.gso_size = 1500 - l3 - 8;
		a = SEND(IF_A, v->a, out, 1000, 53, IPPROTO_UDP, .payload = 3000);
		check(went(a, v->a, 1000, out, 53), "UDP that fits");
		bed.gso_size++;
		a = SEND(IF_A, v->a, out, 1000, 53, IPPROTO_UDP, .payload = 3000);
		check(a.ret == PASSED && (a.mark & SLUICE_BPF_MARK), "UDP that does not");
	}
	bed.gso_size = 0;
	ok_checks("%s: packets that are cut later go straight if each segment fits", v->name);
}

static void test_backends(void)
{
	struct answer a;

	bed_reset();
	SEND(IF_A, A4, VIP4, 1000, 53, IPPROTO_UDP);
	SEND(IF_A, A4, VIP4, 1000, 80, IPPROTO_TCP, .flags = SYN, .seq = 1);
	SEND(IF_B, B4, A4, 8080, 1000, IPPROTO_TCP, .flags = SYN | ACK, .seq = 1, .ack = 2);
	SEND(IF_A, A4, VIP4, 1000, 80, IPPROTO_TCP, .flags = ACK, .seq = 2, .ack = 2);
	bed.control->backend_epoch++;
	a = SEND(IF_A, A4, VIP4, 1000, 53, IPPROTO_UDP);
	ok(went(a, A4, 1000, B4, 5353) && bed_stats().created == 2,
	   "another backend has left: the connection goes on");
	drop_backend(VIP4, 53, IPPROTO_UDP, B4, 5353);
	drop_backend(VIP4, 80, IPPROTO_TCP, B4, 8080);
	a = SEND(IF_A, A4, VIP4, 1000, 53, IPPROTO_UDP);
	ok(went(a, A4, 1000, B4, 5353) && bed_stats().created == 3,
	   "its own has left: UDP starts over");
	a = SEND(IF_A, A4, VIP4, 1000, 80, IPPROTO_TCP, .flags = ACK, .seq = 2, .ack = 2);
	ok(went(a, A4, 1000, B4, 8080) && bed_stats().created == 3, "established TCP goes on");
	a = SEND(IF_A, A4, VIP4, 1000, 80, IPPROTO_TCP, .flags = SYN, .seq = 9);
	ok(went(a, A4, 1000, B4, 8080) && bed_stats().created == 4, "and its next one starts over");
	set_service(VIP4, 53, IPPROTO_UDP, B4, 5353);
	set_service(VIP4, 80, IPPROTO_TCP, B4, 8080);
}

static void test_others(void)
{
	struct frame f;
	struct answer a;

	bed_reset();
	a = SEND(IF_A, A4, VIP4, 1000, 84, IPPROTO_SCTP, .flags = 1);
	ok(went(a, A4, 1000, B4, 84) && state_of(SLUICE_IPV4) == SLUICE_STATE_SCTP_INIT,
	   "SCTP to a service whose port is the backend's");
	a = SEND(IF_A, A4, VIP4, 1000, 85, IPPROTO_SCTP, .flags = 1);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_UNSUPPORTED) == 1, "to another port: not here");

	f = frame_make(&(struct spec){ A4, B4, 1000, 53, IPPROTO_UDP, .payload = 10 });
	f.b[FRAME_L3 + 10] ^= 1;
	a = run(IF_A, &f);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_BAD_CHECKSUM) == 1, "a wrong header checksum");
	f = frame_make(&(struct spec){ A4, B4, 1000, 53, IPPROTO_UDP, .payload = 10 });
	put16(f.b + FRAME_L3 + 6, 0x2000);
	put16(f.b + FRAME_L3 + 10, 0);
	put16(f.b + FRAME_L3 + 10, ~frame_sum(0, f.b + FRAME_L3, 20));
	a = run(IF_A, &f);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_FRAGMENT) == 1, "a fragment");
	f = frame_make(&(struct spec){ OUT4, NODE4, 1000, 53, IPPROTO_UDP, .payload = 10 });
	put16(f.b + FRAME_L3 + 6, 0x2000);
	put16(f.b + FRAME_L3 + 10, 0);
	put16(f.b + FRAME_L3 + 10, ~frame_sum(0, f.b + FRAME_L3, 20));
	a = run(IF_UP, &f);
	ok(a.ret == PASSED && drops(SLUICE_REASON_FRAGMENT) == 1,
	   "one for the node is the stack's");
	f = frame_make(&(struct spec){ A4, B4, 1000, 53, IPPROTO_UDP, .payload = 10 });
	put16(f.b + FRAME_L3 + 24, 40);
	a = run(IF_A, &f);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_MALFORMED) == 1, "a length that is not");
	f = frame_make(&(struct spec){ A6, B6, 1000, 53, IPPROTO_UDP, .payload = 10 });
	memmove(f.b + FRAME_L3 + 48, f.b + FRAME_L3 + 40, f.len - FRAME_L3 - 40);
	memset(f.b + FRAME_L3 + 40, 0, 8);
	f.b[FRAME_L3 + 40] = IPPROTO_UDP;
	f.b[FRAME_L3 + 6] = 60;
	put16(f.b + FRAME_L3 + 4, 8 + 18);
	f.len += 8;
	a = run(IF_A, &f);
	ok(a.ret == SENT && state_of(SLUICE_IPV6) == SLUICE_STATE_UNREPLIED,
	   "an IPv6 extension header is walked over");
	f = frame_make(&(struct spec){ A6, B6, 1000, 53, IPPROTO_UDP, .payload = 800 });
	memmove(f.b + FRAME_L3 + 440, f.b + FRAME_L3 + 40, f.len - FRAME_L3 - 40);
	memset(f.b + FRAME_L3 + 40, 0, 400);
	f.b[FRAME_L3 + 40] = IPPROTO_UDP;
	f.b[FRAME_L3 + 41] = 49;
	f.b[FRAME_L3 + 6] = 60;
	put16(f.b + FRAME_L3 + 4, 400 + 808);
	f.len += 400;
	a = run(IF_A, &f);
	ok(a.ret == DROPPED && drops(SLUICE_REASON_UNSUPPORTED) == 2,
	   "headers that are longer than the window");
	a = SEND(IF_A, A4, "224.0.0.5", 1000, 53, IPPROTO_UDP);
	ok(a.ret == PASSED && !a.mark, "what stays on its link is the stack's");
	f = frame_make(&(struct spec){ A4, B4, 1000, 53, IPPROTO_UDP });
	put16(f.b + 12, ETHERTYPE_ARP);
	a = run(IF_A, &f);
	ok(a.ret == PASSED && !a.mark, "so is ARP");
}

/*
 * The same first packet on two processors at once: one connection comes of it, and both packets go its way. What the
 * loser took is no connection, and the sweeper's; nothing else is in use.
 */
static struct {
	pthread_barrier_t barrier;
	struct answer answer[2];
	struct frame frame;
	bool over;
} race;

static void *race_on(void *cpu)
{
	size_t n = (size_t)cpu;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(n, &set);
	sched_setaffinity(0, sizeof(set), &set);
	for (;;) {
		pthread_barrier_wait(&race.barrier);
		if (race.over)
			return NULL;
		race.answer[n] = run(IF_A, &race.frame);
		pthread_barrier_wait(&race.barrier);
	}
}

static void count_objects(uint8_t family, uint32_t *living, uint32_t *dying)
{
	*living = *dying = 0;
	for (uint32_t i = 0; i < BED_OBJECTS; i++) {
		uint32_t bits = family == SLUICE_IPV4 ? bed.conns4[i].c.bits : bed.conns6[i].c.bits;

		if (bits & SLUICE_BPF_DYING)
			++*dying;
		else if (bits & SLUICE_BPF_LIVE)
			++*living;
	}
}

#define RACES 200 /* twice as many objects are there */

static void test_races(const struct family *v)
{
	struct sluice_bpf_table *t = &bed.control->table[v->family == SLUICE_IPV6];
	uint32_t living, dying, lost = 0;
	pthread_t thread[2];
	struct answer a;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		ok(true, "%s: races # SKIP there is one processor", v->name);
		return;
	}
	race.over = false;
	pthread_barrier_init(&race.barrier, NULL, 3);
	for (size_t i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, race_on, (void *)i);
	for (uint32_t round = 0; round < 10; round++) {
		bed_reset();
		for (uint16_t port = 2000; port < 2000 + RACES; port++) {
			race.frame = frame_make(&(struct spec){ v->a, v->vip, port, 53, IPPROTO_UDP,
								.payload = 8 });
			pthread_barrier_wait(&race.barrier);
			pthread_barrier_wait(&race.barrier);
			a = run(IF_A, &race.frame);
			for (int i = 0; i < 2; i++)
				check(race.answer[i].ret == SENT &&
					      race.answer[i].f.len == a.f.len &&
					      !memcmp(race.answer[i].f.b + 12, a.f.b + 12,
						      a.f.len - 12),
				      "port %u: %d", port, race.answer[i].ret);
			check(conns_alive(v->family) == port - 1999u, "port %u: %u alive", port,
			      conns_alive(v->family));
		}
		count_objects(v->family, &living, &dying);
		check(bed_stats().created == RACES && living == RACES && t->used == living + dying,
		      "%llu created, %u living, %u dying, %u in use",
		      (unsigned long long)bed_stats().created, living, dying, t->used);
		lost += dying;
	}
	race.over = true;
	pthread_barrier_wait(&race.barrier);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	pthread_barrier_destroy(&race.barrier);
	ok_checks("%s: the same first packet on two processors", v->name);
	printf("# %u of %u races were lost late\n", lost, 10 * RACES);
}

/* Cut, changed and random frames: whatever comes, an answer, and nothing but answers of ours. */
static void test_noise(void)
{
	struct spec specs[] = {
		{ A4, VIP4, 1000, 53, IPPROTO_UDP, .payload = 40 },
		{ A4, VIP4, 1000, 80, IPPROTO_TCP, .flags = SYN },
		{ A6, VIP6, 1000, 53, IPPROTO_UDP, .payload = 40 },
		{ A6, VIP6, 1000, 80, IPPROTO_TCP, .flags = ACK },
		{ A4, B4, 1000, .proto = IPPROTO_ICMP, .type = 3, .payload = 40 },
		{ A6, B6, 1000, .proto = IPPROTO_ICMPV6, .type = 1, .payload = 80 },
	};
	uint32_t i, n;

	bed_reset();
	for (i = 0; i < 20000; i++) {
		struct frame f = frame_make(&specs[tap_random() % 6]);
		struct answer a;

		for (n = tap_random() % 6; n; n--)
			f.b[FRAME_L3 + tap_random() % (f.len - FRAME_L3)] = (uint8_t)tap_random();
		if (frame_is4(&f) && tap_random() % 4) {
			put16(f.b + FRAME_L3 + 10, 0);
			put16(f.b + FRAME_L3 + 10, ~frame_sum(0, f.b + FRAME_L3, 20));
		}
		if (!(tap_random() % 4))
			f.len = FRAME_L3 + 1 + (uint32_t)(tap_random() % (f.len - FRAME_L3));
		a = run(tap_random() % 2 ? IF_A : IF_UP, &f);
		/* The kernel itself runs no program on less than a network header. */
		check(a.ret == PASSED || a.ret == DROPPED || a.ret == SENT ||
			      (a.ret == -EINVAL && f.len < FRAME_L3 + 40),
		      "answer %d", a.ret);
		if (bed.control->table[0].used + 8 > BED_OBJECTS ||
		    bed.control->table[1].used + 8 > BED_OBJECTS)
			bed_reset();
	}
	ok_checks("noise");
}

static void test_family(const struct family *v)
{
	test_udp(v);
	test_tcp(v);
	test_echo(v);
	test_icmp_error(v);
	test_reject(v);
	test_policy(v);
	test_policy_gives_way(v);
	test_segments(v);
}

int main(int argc, char **argv)
{
	uint32_t i;

	if (argc != 2) {
		fprintf(stderr, "usage: packets OBJECT\n");
		return 2;
	}
	tap_seed();
	bed_interfaces();
	bed_load(argv[1], NULL);
	set_deny(SLOT_DENY);
	set_up();
	for (i = 0; i < 2; i++)
		test_family(&families[i]);
	bed.summed = bed_can_sum();
	if (bed.summed) {
		printf("# the same, summed by the card\n");
		for (i = 0; i < 2; i++)
			test_family(&families[i]);
		bed.summed = false;
	} else {
		ok(true, "sums of a card # SKIP this kernel's BPF_PROG_RUN makes none");
	}
	for (i = 0; i < 2; i++)
		test_races(&families[i]);
	test_sources();
	test_outside();
	test_node();
	test_remap();
	test_limits();
	test_backends();
	test_others();
	test_noise();
	return done_testing();
}
