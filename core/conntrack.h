/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The connection state machine.
 *
 * It decides two things only: how long a connection may stay silent, and how cheap it is to lose
 * (its eviction class). It never decides whether a packet of a known connection passes: the ends
 * judge sequence numbers better than a box between them, and a packet of a known connection is
 * always translated, so none can leak un-NATed.
 *
 * TCP follows the states of RFC 9293 as seen from the middle:
 *
 *     SYN_SENT -SYN+ACK-> SYN_RECV -ACK-> ESTABLISHED -FIN-> FIN_WAIT -ACK of FIN-> CLOSE_WAIT
 *     FIN_WAIT or CLOSE_WAIT -FIN of the other side-> LAST_ACK -ACK of both-> TIME_WAIT
 *     any -RST inside the window-> CLOSE
 *
 * A reset counts only when its sequence number lies between what the receiver last acknowledged
 * and the end of the window it last offered (RFC 5961: anything else is ignored or challenged by
 * the receiver, so the connection lives on). A connection that was first seen in mid-stream
 * (Sluice was loaded under traffic) starts in MIDSTREAM, learns its window as it goes, and is
 * ESTABLISHED once the other side has been heard: a stray ACK to nobody must not hold memory for a day.
 */
#ifndef SLUICE_CORE_CONNTRACK_H
#define SLUICE_CORE_CONNTRACK_H

#include "tuple.h"

/* Directions: of the first packet, and the other. Also the two sides: originator, responder. */
#define SLUICE_DIR_ORIGINAL 0
#define SLUICE_DIR_REPLY 1

/* X(symbol, name, timeout in seconds, eviction class) */
#define SLUICE_STATES(X)                                                                        \
	X(NONE, "none", 0, CLOSING)                                                             \
	X(DENIED, "denied", 5, CLOSING) /* a negative entry */                                  \
	X(TCP_SYN_SENT, "syn-sent", 60, UNREPLIED)                                              \
	X(TCP_SYN_RECV, "syn-recv", 60, UNREPLIED)                                              \
	X(TCP_ESTABLISHED, "established", 86400, ESTABLISHED) /* kube-proxy's 24 h */           \
	X(TCP_FIN_WAIT, "fin-wait", 3600,                                                       \
	  ESTABLISHED) /* half closed connections still carry data */                           \
	X(TCP_CLOSE_WAIT, "close-wait", 3600, ESTABLISHED) /* kube-proxy's 1 h */               \
	X(TCP_LAST_ACK, "last-ack", 30, CLOSING)                                                \
	X(TCP_TIME_WAIT, "time-wait", 120, CLOSING)                                             \
	X(TCP_CLOSE, "close", 10, CLOSING)                                                      \
	X(UNREPLIED, "unreplied", 30, UNREPLIED) /* UDP, ICMP and others: one direction seen */ \
	X(REPLIED, "replied", 120, IDLE) /* both directions seen */                             \
	X(ICMP_REPLIED, "echo-replied", 30, IDLE)                                               \
	X(SCTP_INIT, "sctp-init", 30, UNREPLIED)                                                \
	X(SCTP_ESTABLISHED, "sctp-established", 86400, ESTABLISHED)                             \
	X(SCTP_SHUTDOWN, "sctp-shutdown", 10, CLOSING)                                          \
	X(SCTP_CLOSED, "sctp-closed", 10, CLOSING)                                              \
	X(TCP_MIDSTREAM, "mid-stream", 120, UNREPLIED) /* picked up, the other side not yet heard */

enum sluice_state {
#define X(sym, name, timeout, class) SLUICE_STATE_##sym,
	SLUICE_STATES(X)
#undef X
		SLUICE_STATE_COUNT
};

/* Who is evicted first when the memory budget is used up. The last class never is. */
enum sluice_evict_class {
	SLUICE_EVICT_CLOSING,
	SLUICE_EVICT_UNREPLIED,
	SLUICE_EVICT_IDLE,
	SLUICE_EVICT_ESTABLISHED,
	SLUICE_EVICT_COUNT
};

/* Seconds that a connection in this state may stay silent. */
static __always_inline __u32 sluice_state_timeout(__u8 state)
{
	switch (state) {
#define X(sym, name, timeout, class) \
	case SLUICE_STATE_##sym:     \
		return timeout;
		SLUICE_STATES(X)
#undef X
	}
	return 0;
}

static __always_inline __u8 sluice_state_class(__u8 state)
{
	switch (state) {
#define X(sym, name, timeout, class) \
	case SLUICE_STATE_##sym:     \
		return SLUICE_EVICT_##class;
		SLUICE_STATES(X)
#undef X
	}
	return SLUICE_EVICT_CLOSING;
}

#ifndef __bpf__
static inline const char *sluice_evict_name(__u32 class)
{
	static const char *const names[SLUICE_EVICT_COUNT] = { "closing", "unreplied", "idle",
							       "established" };

	return class < SLUICE_EVICT_COUNT ? names[class] : "unknown";
}

static inline const char *sluice_state_name(__u32 state)
{
	switch (state) {
#define X(sym, name, timeout, class) \
	case SLUICE_STATE_##sym:     \
		return name;
		SLUICE_STATES(X)
#undef X
	}
	return "unknown";
}
#endif

/* TCP flag bits as they stand in byte 13 of the header. */
#define SLUICE_TCP_FIN 0x01
#define SLUICE_TCP_SYN 0x02
#define SLUICE_TCP_RST 0x04
#define SLUICE_TCP_PSH 0x08
#define SLUICE_TCP_ACK 0x10
#define SLUICE_TCP_URG 0x20

#define SLUICE_TCPDIR_SEEN 0x01 /* end and win hold values */
#define SLUICE_TCPDIR_FIN 0x02 /* this side has sent FIN; end is behind it */
#define SLUICE_TCPDIR_ACKED 0x04 /* that FIN has been acknowledged */
#define SLUICE_TCPDIR_ACK 0x08 /* ack holds a value; 0 is one like any other */

/* What one side of a TCP connection has sent, host byte order. */
struct sluice_tcp_dir {
	__u32 end; /* highest sequence number sent, plus one */
	__u32 ack; /* highest acknowledgment sent */
	__u16 win; /* last window offered, unscaled */
	__u8 wscale; /* its shift, from the SYN; 0 until then */
	__u8 flags; /* SLUICE_TCPDIR_* */
};
SLUICE_ASSERT_SIZE(struct sluice_tcp_dir, 12);

/* What the state machine reads of one packet; the platform parses it. Host byte order. */
struct sluice_l4 {
	__u32 seq;
	__u32 ack;
	__u32 len; /* TCP payload bytes (all segments of a GSO packet) */
	__u16 win;
	__u8 flags; /* TCP flags, or the SCTP type of the first chunk, or the ICMP type */
	__u8 wscale; /* from a SYN's options; 0 if there was none */
};
SLUICE_ASSERT_SIZE(struct sluice_l4, 16);

/* RFC 1982: a is before b. */
static __always_inline bool sluice_seq_before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

/* Flag combinations that no sender makes: none at all, SYN with FIN or RST, FIN without ACK, ... */
static __always_inline bool sluice_tcp_flags_valid(__u8 flags)
{
	flags &= SLUICE_TCP_FIN | SLUICE_TCP_SYN | SLUICE_TCP_RST | SLUICE_TCP_ACK;
	if (flags & SLUICE_TCP_SYN)
		return !(flags & (SLUICE_TCP_FIN | SLUICE_TCP_RST));
	if (flags & SLUICE_TCP_RST)
		return !(flags & SLUICE_TCP_FIN);
	return flags & SLUICE_TCP_ACK;
}

/* Is this TCP packet the first of a connection? */
static __always_inline bool sluice_tcp_opens(__u8 flags)
{
	return (flags & (SLUICE_TCP_SYN | SLUICE_TCP_ACK | SLUICE_TCP_RST)) == SLUICE_TCP_SYN;
}

/*
 * Is this first packet more likely an answer? A segment from the middle of a connection does not say who opened
 * it, and policy must know: a server that may call nobody goes on answering, and one whose client was cut off must not
 * bring the connection back by repeating itself. The lower port is the one that was listened on.
 */
static __always_inline bool sluice_tcp_answers(const struct sluice_tuple *t, __u8 flags)
{
	return t->proto == SLUICE_PROTO_TCP && !sluice_tcp_opens(flags) &&
	       sluice_ntohs(t->sport) < sluice_ntohs(t->dport);
}

/* A connection in one of these states gives way to a new one with the same tuple. */
static __always_inline bool sluice_tcp_reopens(__u8 state, __u8 flags)
{
	return sluice_tcp_opens(flags) &&
	       (state == SLUICE_STATE_TCP_TIME_WAIT || state == SLUICE_STATE_TCP_CLOSE ||
		state == SLUICE_STATE_TCP_LAST_ACK);
}

/* Lets dir's record take in a packet that dir sent. */
static __always_inline void sluice_tcp_record(struct sluice_tcp_dir *d, const struct sluice_l4 *p)
{
	__u32 end = p->seq + p->len + !!(p->flags & SLUICE_TCP_SYN) + !!(p->flags & SLUICE_TCP_FIN);
	__u16 win = p->win;

	if (!(d->flags & SLUICE_TCPDIR_SEEN)) {
		d->end = end;
		d->flags |= SLUICE_TCPDIR_SEEN;
	} else if (sluice_seq_before(d->end, end)) {
		d->end = end;
	}
	/* Without the flag, the field means nothing and may hold anything (RFC 9293, 3.1). */
	if (p->flags & SLUICE_TCP_ACK) {
		if (!(d->flags & SLUICE_TCPDIR_ACK)) {
			d->ack = p->ack;
			d->flags |= SLUICE_TCPDIR_ACK;
		} else if (sluice_seq_before(d->ack, p->ack)) {
			d->ack = p->ack;
		}
	}
	if (p->flags & SLUICE_TCP_SYN) {
		d->wscale = p->wscale > 14 ? 14 : p->wscale; /* RFC 7323, 2.3 */
		/* The window of a SYN is never scaled (2.2): keep it so that scaling gives it back. */
		win = (__u16)(((__u32)win + (1U << d->wscale) - 1) >> d->wscale);
	}
	if (d->win != win)
		d->win = win;
	if (p->flags & SLUICE_TCP_FIN)
		d->flags |= SLUICE_TCPDIR_FIN;
}

/* Would "other" take a reset with this sequence number for one of this connection? */
static __always_inline bool sluice_tcp_rst_in_window(const struct sluice_tcp_dir *other,
						     const struct sluice_l4 *p)
{
	__u32 win;

	if (!(other->flags & SLUICE_TCPDIR_SEEN))
		return false;
	if (!(other->flags & SLUICE_TCPDIR_ACK)) /* an answer to its SYN must acknowledge it */
		return (p->flags & SLUICE_TCP_ACK) && p->ack == other->end;
	win = (__u32)other->win << other->wscale;
	return !sluice_seq_before(p->seq, other->ack) &&
	       !sluice_seq_before(other->ack + (win ? win : 1), p->seq);
}

/*
 * Takes in one packet of direction dir of a known connection and returns the next state. tcp: both
 * sides' records, read and written by whoever handles a packet of the connection; a lost update
 * between two CPUs leaves an older value, which the next packet repairs.
 */
static __always_inline __u8 sluice_tcp_next(__u8 state, __u8 dir, struct sluice_tcp_dir tcp[2],
					    const struct sluice_l4 *p)
{
	struct sluice_tcp_dir *me = &tcp[dir & 1], *other = &tcp[(dir & 1) ^ 1];

	if (p->flags & SLUICE_TCP_RST)
		return sluice_tcp_rst_in_window(other, p) ? SLUICE_STATE_TCP_CLOSE : state;

	sluice_tcp_record(me, p);
	if ((p->flags & SLUICE_TCP_ACK) && (other->flags & SLUICE_TCPDIR_FIN) &&
	    !sluice_seq_before(p->ack, other->end))
		other->flags |= SLUICE_TCPDIR_ACKED;

	switch (state) {
	case SLUICE_STATE_TCP_SYN_SENT:
		if (dir == SLUICE_DIR_REPLY && (p->flags & SLUICE_TCP_SYN))
			return SLUICE_STATE_TCP_SYN_RECV;
		return state;
	case SLUICE_STATE_TCP_SYN_RECV:
		if (p->flags & SLUICE_TCP_SYN)
			return state;
		if (dir != SLUICE_DIR_ORIGINAL)
			return state;
		break;
	case SLUICE_STATE_TCP_MIDSTREAM:
		if (!(other->flags & SLUICE_TCPDIR_SEEN))
			return state;
		break;
	case SLUICE_STATE_TCP_TIME_WAIT:
	case SLUICE_STATE_TCP_CLOSE:
		return state;
	}

	if (me->flags & other->flags & SLUICE_TCPDIR_FIN) {
		if (me->flags & other->flags & SLUICE_TCPDIR_ACKED)
			return SLUICE_STATE_TCP_TIME_WAIT;
		return SLUICE_STATE_TCP_LAST_ACK;
	}
	if ((me->flags | other->flags) & SLUICE_TCPDIR_FIN) {
		if ((me->flags | other->flags) & SLUICE_TCPDIR_ACKED)
			return SLUICE_STATE_TCP_CLOSE_WAIT;
		return SLUICE_STATE_TCP_FIN_WAIT;
	}
	return SLUICE_STATE_TCP_ESTABLISHED;
}

/* SCTP chunk types (RFC 9260, 3.2). */
#define SLUICE_SCTP_INIT 1
#define SLUICE_SCTP_INIT_ACK 2
#define SLUICE_SCTP_ABORT 6
#define SLUICE_SCTP_SHUTDOWN 7
#define SLUICE_SCTP_SHUTDOWN_ACK 8
#define SLUICE_SCTP_COOKIE_ECHO 10
#define SLUICE_SCTP_COOKIE_ACK 11
#define SLUICE_SCTP_SHUTDOWN_COMPLETE 14

static __always_inline __u8 sluice_sctp_next(__u8 state, __u8 chunk)
{
	switch (chunk) {
	case SLUICE_SCTP_INIT:
	case SLUICE_SCTP_INIT_ACK:
		return state;
	case SLUICE_SCTP_ABORT:
	case SLUICE_SCTP_SHUTDOWN_COMPLETE:
		return SLUICE_STATE_SCTP_CLOSED;
	case SLUICE_SCTP_SHUTDOWN:
	case SLUICE_SCTP_SHUTDOWN_ACK:
		return SLUICE_STATE_SCTP_SHUTDOWN;
	case SLUICE_SCTP_COOKIE_ACK:
		return SLUICE_STATE_SCTP_ESTABLISHED;
	}
	return state;
}

/* The state of a connection after its first packet, or NONE if that packet may not open one. */
static __always_inline __u8 sluice_state_first(__u8 proto, const struct sluice_l4 *p,
					       struct sluice_tcp_dir tcp[2])
{
	switch (proto) {
	case SLUICE_PROTO_TCP:
		memset(tcp, 0, 2 * sizeof(*tcp));
		if (p->flags & SLUICE_TCP_RST)
			return SLUICE_STATE_NONE;
		sluice_tcp_record(&tcp[SLUICE_DIR_ORIGINAL], p);
		if (sluice_tcp_opens(p->flags))
			return SLUICE_STATE_TCP_SYN_SENT;
		return SLUICE_STATE_TCP_MIDSTREAM;
	case SLUICE_PROTO_SCTP:
		switch (p->flags) {
		case SLUICE_SCTP_INIT:
			return SLUICE_STATE_SCTP_INIT;
		case SLUICE_SCTP_ABORT:
		case SLUICE_SCTP_SHUTDOWN_COMPLETE:
			return SLUICE_STATE_NONE;
		}
		return SLUICE_STATE_SCTP_ESTABLISHED;
	}
	return SLUICE_STATE_UNREPLIED;
}

/* The state after a further packet, any protocol. */
static __always_inline __u8 sluice_state_next(__u8 proto, __u8 state, __u8 dir,
					      struct sluice_tcp_dir tcp[2],
					      const struct sluice_l4 *p)
{
	if (state == SLUICE_STATE_DENIED)
		return state;
	switch (proto) {
	case SLUICE_PROTO_TCP:
		return sluice_tcp_next(state, dir, tcp, p);
	case SLUICE_PROTO_SCTP:
		return sluice_sctp_next(state, p->flags);
	}
	if (dir == SLUICE_DIR_ORIGINAL)
		return state;
	return proto == SLUICE_PROTO_ICMP || proto == SLUICE_PROTO_ICMPV6 ?
		       SLUICE_STATE_ICMP_REPLIED :
		       SLUICE_STATE_REPLIED;
}

#endif
