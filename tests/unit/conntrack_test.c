// SPDX-License-Identifier: GPL-2.0-only
/*
 * core/conntrack.h: scripted conversations at many initial sequence numbers (all wrap somewhere),
 * random ones with loss and reordering beside an oracle in 64-bit numbers, and resets around the
 * edges of the window.
 */
#include "core/conntrack.h"
#include "tap.h"

#define FIN SLUICE_TCP_FIN
#define SYN SLUICE_TCP_SYN
#define RST SLUICE_TCP_RST
#define PSH SLUICE_TCP_PSH
#define ACK SLUICE_TCP_ACK
#define URG SLUICE_TCP_URG

#define ORIG SLUICE_DIR_ORIGINAL
#define REPLY SLUICE_DIR_REPLY

/* One packet and the state behind it. seq and ack count from the sides' initial numbers. */
struct step {
	uint8_t dir;
	uint8_t flags;
	uint32_t seq;
	uint32_t ack;
	uint32_t len;
	uint8_t want; /* enum sluice_state */
	uint16_t win; /* 0: 1000 */
	uint8_t wscale;
};

#define S(state) SLUICE_STATE_TCP_##state
#define END { .want = 255 }

static const uint32_t isns[] = { 0, 1, 0x7fffffff, 0x80000000, 0xfffffc00, 0xfffffffe, 0xffffffff };
#define N_ISNS (sizeof(isns) / sizeof(isns[0]))

static void run_with(const char *name, const struct step *s, uint32_t isn0, uint32_t isn1)
{
	struct sluice_tcp_dir tcp[2];
	uint8_t state = SLUICE_STATE_NONE;
	uint32_t i;

	memset(tcp, 0xff, sizeof(tcp)); /* first() has to start from nothing */
	for (i = 0; s[i].want != 255; i++) {
		struct sluice_l4 p = {
			.seq = s[i].seq + (s[i].dir == ORIG ? isn0 : isn1),
			.ack = s[i].flags & ACK ? s[i].ack + (s[i].dir == ORIG ? isn1 : isn0) : 0,
			.len = s[i].len,
			.win = s[i].win ? s[i].win : 1000,
			.flags = s[i].flags,
			.wscale = s[i].wscale,
		};

		if (!i || sluice_tcp_reopens(state, p.flags))
			state = sluice_state_first(SLUICE_PROTO_TCP, &p, tcp);
		else
			state = sluice_state_next(SLUICE_PROTO_TCP, state, s[i].dir, tcp, &p);
		if (!check(state == s[i].want, "%s, ISNs %x and %x: after step %u it is %s, not %s",
			   name, isn0, isn1, i, sluice_state_name(state),
			   sluice_state_name(s[i].want)))
			return;
	}
}

static void run(const char *name, const struct step *s)
{
	uint32_t i, j;

	for (i = 0; i < N_ISNS; i++)
		for (j = 0; j < N_ISNS; j++)
			run_with(name, s, isns[i], isns[j]);
	for (i = 0; i < 100; i++)
		run_with(name, s, (uint32_t)tap_random(), (uint32_t)tap_random());
	ok_checks("%s", name);
}

#define HANDSHAKE                                                    \
	{ ORIG, SYN, 0, 0, 0, S(SYN_SENT), 1000, 0 },                \
		{ REPLY, SYN | ACK, 0, 1, 0, S(SYN_RECV), 1000, 0 }, \
		{ ORIG, ACK, 1, 1, 0, S(ESTABLISHED), 1000, 0 }

static void test_scripts(void)
{
	static const struct step orderly[] = {
		HANDSHAKE,
		{ ORIG, PSH | ACK, 1, 1, 100, S(ESTABLISHED), 0, 0 },
		{ REPLY, PSH | ACK, 1, 101, 5000, S(ESTABLISHED), 0, 0 },
		{ ORIG, FIN | ACK, 101, 5001, 0, S(FIN_WAIT), 0, 0 },
		{ REPLY, ACK, 5001, 102, 0, S(CLOSE_WAIT), 0, 0 },
		{ REPLY, FIN | ACK, 5001, 102, 0, S(LAST_ACK), 0, 0 },
		{ ORIG, ACK, 102, 5002, 0, S(TIME_WAIT), 0, 0 },
		END
	};
	static const struct step responder_closes[] = {
		HANDSHAKE,
		{ REPLY, FIN | ACK, 1, 1, 10, S(FIN_WAIT), 0, 0 },
		{ ORIG, ACK, 1, 11, 0, S(FIN_WAIT), 0, 0 }, /* the data, not yet the FIN */
		{ ORIG, FIN | ACK, 1, 12, 0, S(LAST_ACK), 0, 0 }, /* both in one packet */
		{ REPLY, ACK, 12, 2, 0, S(TIME_WAIT), 0, 0 },
		END
	};
	static const struct step half_close[] = {
		HANDSHAKE,
		{ ORIG, FIN | ACK, 1, 1, 20, S(FIN_WAIT), 0, 0 },
		{ REPLY, ACK, 1, 22, 0, S(CLOSE_WAIT), 0, 0 },
		{ REPLY, PSH | ACK, 1, 22, 1400, S(CLOSE_WAIT), 0, 0 },
		{ ORIG, ACK, 22, 1401, 0, S(CLOSE_WAIT), 0, 0 },
		{ REPLY, PSH | ACK, 1401, 22, 1400, S(CLOSE_WAIT), 0, 0 },
		{ ORIG, ACK, 22, 2801, 0, S(CLOSE_WAIT), 0, 0 },
		{ REPLY, FIN | ACK, 2801, 22, 0, S(LAST_ACK), 0, 0 },
		{ REPLY, FIN | ACK, 2801, 22, 0, S(LAST_ACK), 0, 0 }, /* again */
		{ ORIG, ACK, 22, 2802, 0, S(TIME_WAIT), 0, 0 },
		END
	};
	static const struct step both_close[] = { HANDSHAKE,
						  { ORIG, FIN | ACK, 1, 1, 0, S(FIN_WAIT), 0, 0 },
						  { REPLY, FIN | ACK, 1, 1, 0, S(LAST_ACK), 0, 0 },
						  { ORIG, ACK, 2, 2, 0, S(LAST_ACK), 0, 0 },
						  { REPLY, ACK, 2, 2, 0, S(TIME_WAIT), 0, 0 },
						  END };
	static const struct step simultaneous_open[] = {
		{ ORIG, SYN, 0, 0, 0, S(SYN_SENT), 0, 0 },
		{ REPLY, SYN, 0, 0, 0, S(SYN_RECV), 0, 0 },
		{ ORIG, SYN | ACK, 0, 1, 0, S(SYN_RECV), 0, 0 },
		{ REPLY, SYN | ACK, 0, 1, 0, S(SYN_RECV), 0, 0 },
		{ REPLY, PSH | ACK, 1, 1, 10, S(SYN_RECV), 0, 0 },
		{ ORIG, ACK, 1, 11, 0, S(ESTABLISHED), 0, 0 },
		{ ORIG, RST, 1, 0, 0, S(CLOSE), 0, 0 },
		END
	};
	static const struct step lost_syns[] = {
		{ ORIG, SYN, 0, 0, 0, S(SYN_SENT), 0, 0 },
		{ ORIG, SYN, 0, 0, 0, S(SYN_SENT), 0, 0 },
		{ REPLY, SYN | ACK, 0, 1, 0, S(SYN_RECV), 0, 0 },
		{ ORIG, SYN, 0, 0, 0, S(SYN_RECV), 0, 0 },
		{ REPLY, SYN | ACK, 0, 1, 0, S(SYN_RECV), 0, 0 },
		{ ORIG, PSH | ACK, 1, 1, 10, S(ESTABLISHED), 0, 0 }, /* the bare ACK was lost */
		{ REPLY, SYN | ACK, 0, 1, 0, S(ESTABLISHED), 0, 0 }, /* a late copy */
		{ ORIG, ACK, 11, 1, 0, S(ESTABLISHED), 0, 0 },
		END
	};
	static const struct step refused[] = {
		{ ORIG, SYN, 0, 0, 0, S(SYN_SENT), 0, 0 },
		{ REPLY, RST | ACK, 0, 1, 0, S(CLOSE), 0, 0 },
		{ ORIG, SYN, 70000, 0, 0, S(SYN_SENT), 0, 0 }, /* and tried again */
		{ REPLY, SYN | ACK, 9000, 70001, 0, S(SYN_RECV), 0, 0 },
		{ ORIG, ACK, 70001, 9001, 0, S(ESTABLISHED), 0, 0 },
		END
	};
	static const struct step refused_with_data[] = {
		{ ORIG, SYN, 0, 0, 500, S(SYN_SENT), 0, 0 }, /* TCP Fast Open */
		{ REPLY, RST | ACK, 0, 1, 0, S(SYN_SENT), 0, 0 }, /* acknowledges too little */
		{ REPLY, RST | ACK, 0, 501, 0, S(CLOSE), 0, 0 },
		END
	};
	static const struct step forged_refusals[] = {
		{ ORIG, SYN, 0, 0, 0, S(SYN_SENT), 0, 0 },
		{ REPLY, RST, 1, 0, 0, S(SYN_SENT), 0, 0 },
		{ REPLY, RST | ACK, 0, 0, 0, S(SYN_SENT), 0, 0 },
		{ REPLY, RST | ACK, 0, 2, 0, S(SYN_SENT), 0, 0 },
		{ REPLY, SYN | ACK, 0, 1, 0, S(SYN_RECV), 0, 0 },
		END
	};
	static const struct step reset_by_client[] = {
		HANDSHAKE,
		{ REPLY, PSH | ACK, 1, 1, 10, S(ESTABLISHED), 0, 0 },
		{ ORIG, RST, 5000, 0, 0, S(ESTABLISHED), 0, 0 },
		{ ORIG, RST, 0, 0, 0, S(ESTABLISHED), 0, 0 },
		{ ORIG, RST, 0x80000001, 0, 0, S(ESTABLISHED), 0, 0 },
		{ ORIG, RST, 1, 0, 0, S(CLOSE), 0, 0 },
		{ REPLY, PSH | ACK, 11, 1, 10, S(CLOSE), 0, 0 },
		END
	};
	static const struct step reopened[] = {
		HANDSHAKE,
		{ ORIG, FIN | ACK, 1, 1, 0, S(FIN_WAIT), 0, 0 },
		{ REPLY, FIN | ACK, 1, 2, 0, S(LAST_ACK), 0, 0 },
		{ ORIG, ACK, 2, 2, 0, S(TIME_WAIT), 0, 0 },
		{ REPLY, FIN | ACK, 1, 2, 0, S(TIME_WAIT), 0, 0 }, /* the last ACK was lost */
		{ ORIG, ACK, 2, 2, 0, S(TIME_WAIT), 0, 0 },
		{ ORIG, SYN, 90000, 0, 0, S(SYN_SENT), 0, 0 }, /* RFC 9293, 3.6.1 */
		{ REPLY, SYN | ACK, 5, 90001, 0, S(SYN_RECV), 0, 0 },
		{ ORIG, ACK, 90001, 6, 0, S(ESTABLISHED), 0, 0 },
		{ REPLY, FIN | ACK, 6, 90001, 0, S(FIN_WAIT), 0,
		  0 }, /* the old FINs are forgotten */
		END
	};
	static const struct step mid_stream[] = {
		{ ORIG, PSH | ACK, 5000, 700, 100, S(MIDSTREAM), 0, 0 },
		{ REPLY, RST, 700 + 2000, 0, 0, S(MIDSTREAM), 0, 0 },
		{ REPLY, ACK, 700, 5100, 0, S(ESTABLISHED), 0, 0 },
		{ ORIG, FIN | ACK, 5100, 700, 0, S(FIN_WAIT), 0, 0 },
		{ REPLY, FIN | ACK, 700, 5101, 0, S(LAST_ACK), 0, 0 },
		{ ORIG, ACK, 5101, 701, 0, S(TIME_WAIT), 0, 0 },
		END
	};
	static const struct step mid_stream_refused[] = {
		{ ORIG, PSH | ACK, 5000, 700, 100, S(MIDSTREAM), 0, 0 },
		{ REPLY, RST, 700, 0, 0, S(CLOSE), 0, 0 }, /* "I know of no such connection" */
		END
	};
	static const struct step mid_stream_fin[] = {
		{ ORIG, FIN | ACK, 5000, 700, 0, S(MIDSTREAM), 0, 0 },
		{ REPLY, FIN | ACK, 700, 5001, 0, S(LAST_ACK), 0, 0 },
		{ ORIG, ACK, 5001, 701, 0, S(TIME_WAIT), 0, 0 },
		END
	};
	static const struct step server_first_to_close[] = {
		{ ORIG, SYN, 0, 0, 0, S(SYN_SENT), 0, 0 },
		{ REPLY, SYN | ACK, 0, 1, 0, S(SYN_RECV), 0, 0 },
		{ REPLY, FIN | ACK, 1, 1, 10, S(SYN_RECV), 0, 0 }, /* the ACK is still on its way */
		{ ORIG, ACK, 1, 1, 0, S(FIN_WAIT), 0, 0 },
		{ ORIG, ACK, 1, 12, 0, S(CLOSE_WAIT), 0, 0 },
		{ ORIG, FIN | ACK, 1, 12, 0, S(LAST_ACK), 0, 0 },
		{ REPLY, ACK, 12, 2, 0, S(TIME_WAIT), 0, 0 },
		END
	};
	/* RFC 9293, 3.5.1: the server still holds the connection that a restarted client forgot. */
	static const struct step half_open[] = { HANDSHAKE,
						 { ORIG, SYN, 400000, 0, 0, S(ESTABLISHED), 0, 0 },
						 { REPLY, ACK, 1, 1, 0, S(ESTABLISHED), 0,
						   0 }, /* challenge */
						 { ORIG, RST, 1, 0, 0, S(CLOSE), 0, 0 },
						 { ORIG, SYN, 400000, 0, 0, S(SYN_SENT), 0, 0 },
						 END };
	static const struct step keepalive[] = {
		HANDSHAKE,
		{ ORIG, PSH | ACK, 1, 1, 100, S(ESTABLISHED), 0, 0 },
		{ REPLY, ACK, 1, 101, 0, S(ESTABLISHED), 0, 0 },
		{ ORIG, ACK, 100, 1, 0, S(ESTABLISHED), 0, 0 }, /* one before what was sent */
		{ REPLY, ACK, 1, 101, 0, S(ESTABLISHED), 0, 0 },
		END
	};

	run("open, talk, close in order", orderly);
	run("the responder closes; FIN and its ACK in one packet", responder_closes);
	run("half closed, the other side goes on", half_close);
	run("both close at once", both_close);
	run("both open at once", simultaneous_open);
	run("SYNs and SYN+ACKs sent again", lost_syns);
	run("refused, then tried again", refused);
	run("refused with data in the SYN", refused_with_data);
	run("refusals that acknowledge something else", forged_refusals);
	run("reset inside the window, outside ignored", reset_by_client);
	run("reopened from TIME_WAIT", reopened);
	run("picked up in mid-stream", mid_stream);
	run("picked up in mid-stream, refused", mid_stream_refused);
	run("picked up at its FIN", mid_stream_fin);
	run("the server's FIN before the client's ACK", server_first_to_close);
	run("half open after a restart", half_open);
	run("keepalives", keepalive);
}

/* The ACK field of a segment without ACK means nothing (RFC 9293, 3.1), whatever it holds. */
static void test_ack_field_without_ack(void)
{
	uint32_t i;

	for (i = 0; i < 2000; i++) {
		uint32_t c = (uint32_t)tap_random(), s = (uint32_t)tap_random();
		struct sluice_tcp_dir tcp[2];
		struct sluice_l4 syn = { .seq = c, .ack = (uint32_t)tap_random(), .flags = SYN };
		struct sluice_l4 synack = { .seq = s, .ack = c + 1, .flags = SYN | ACK };
		struct sluice_l4 ack = { .seq = c + 1, .ack = s + 1, .flags = ACK, .win = 100 };
		struct sluice_l4 rst = { .seq = 0, .ack = c + 1, .flags = RST | ACK };
		uint8_t state = sluice_state_first(SLUICE_PROTO_TCP, &syn, tcp);

		check(sluice_tcp_next(state, REPLY, tcp, &rst) == S(CLOSE),
		      "a SYN with an ACK field of %x cannot be refused", syn.ack);
		state = sluice_state_first(SLUICE_PROTO_TCP, &syn, tcp);
		state = sluice_tcp_next(state, REPLY, tcp, &synack);
		state = sluice_tcp_next(state, ORIG, tcp, &ack);
		rst.seq = s + 1;
		check(sluice_tcp_next(state, REPLY, tcp, &rst) == S(CLOSE),
		      "nor reset later on, server ISN %x", s);
	}
	ok_checks("the ACK field of a SYN is not read");
}

/*
 * A reset at every interesting distance from what the receiver acknowledged. Inside the window
 * (RFC 9293: RCV.NXT <= SEG.SEQ < RCV.NXT + RCV.WND) it closes; before it, or behind it by more
 * than the rounding of a scaled SYN window, it does not.
 */
static void test_reset_window(void)
{
	uint32_t i, j;

	for (i = 0; i < 3000; i++) {
		uint8_t dir = tap_below(2), scale = tap_below(15);
		uint32_t c = (uint32_t)tap_random(), s = (uint32_t)tap_random();
		uint16_t win = tap_one_in(8) ? 0 : (uint16_t)tap_random();
		bool bare_syn = dir == ORIG && tap_one_in(3); /* the server's SYN+ACK only so far */
		uint64_t window = bare_syn ? win : (uint64_t)win << scale;
		uint64_t slack = bare_syn ? 1U << scale : 1;
		struct sluice_tcp_dir tcp[2], saved[2];
		struct sluice_l4 syn = { .seq = c, .flags = SYN, .win = win, .wscale = scale };
		struct sluice_l4 synack = {
			.seq = s, .ack = c + 1, .flags = SYN | ACK, .win = win, .wscale = scale
		};
		struct sluice_l4 ack = { .seq = c + 1, .ack = s + 1, .flags = ACK, .win = win };
		struct sluice_l4 data = { .seq = s + 1, .ack = c + 1, .flags = ACK, .win = win };
		uint32_t next = dir == ORIG ? c + 1 : s + 1; /* what the receiver waits for */
		uint8_t state = sluice_state_first(SLUICE_PROTO_TCP, &syn, tcp);
		int64_t at[12] = { 0,
				   -1,
				   -2,
				   -1000,
				   -0x7fffffff,
				   (int64_t)window - 1,
				   (int64_t)(window / 2),
				   (int64_t)(window + slack + 1),
				   (int64_t)window + 100000,
				   (int64_t)tap_below(0x7fffffff),
				   -(int64_t)tap_below(0x7fffffff),
				   0x7fffffff };

		state = sluice_tcp_next(state, REPLY, tcp, &synack);
		state = sluice_tcp_next(state, ORIG, tcp, &ack);
		if (!bare_syn)
			state = sluice_tcp_next(state, REPLY, tcp, &data);
		memcpy(saved, tcp, sizeof(tcp));
		for (j = 0; j < 12; j++) {
			struct sluice_l4 rst = { .seq = next + (uint32_t)at[j], .flags = RST };
			bool closed = sluice_tcp_next(state, dir, tcp, &rst) == S(CLOSE);

			if (at[j] >= 0 && (uint64_t)at[j] < (window ? window : 1))
				check(closed, "dir %u, window %" PRIu64 ", at %" PRId64 ": ignored",
				      dir, window, at[j]);
			else if (at[j] < 0 || (uint64_t)at[j] > window + slack)
				check(!closed,
				      "dir %u, window %" PRIu64 ", at %" PRId64 ": taken%s", dir,
				      window, at[j], bare_syn ? " (window of a SYN)" : "");
			check(!memcmp(saved, tcp, sizeof(tcp)), "a reset is recorded");
		}
	}
	ok_checks("resets count inside the receiver's window only, scaled and wrapped");
}

/* --- random conversations --------------------------------------------------------------------- */

#define MAX_SEGMENTS 12

/* One end: what it has to send, in 64-bit numbers from its ISN on. Go back n. */
struct end {
	uint32_t isn;
	uint32_t n; /* segments: SYN, data, FIN */
	uint64_t starts[MAX_SEGMENTS + 1]; /* starts[n] is behind the FIN */
	uint32_t sent; /* segments sent at least once */
	uint64_t una; /* acknowledged by the other end */
	uint64_t rcv; /* received in order */
};

struct flight {
	uint8_t dir;
	uint8_t flags;
	uint64_t seq;
	uint64_t ack;
	uint32_t len;
};

/* What the middle has seen, as a list of facts. */
struct oracle {
	bool synack;
	bool original_after;
	bool fin[2];
	bool acked[2];
	uint64_t fin_end[2];
};

static uint8_t oracle_state(struct oracle *o, const struct flight *f)
{
	if (f->flags & FIN) {
		o->fin[f->dir] = true;
		o->fin_end[f->dir] = f->seq + f->len + 1;
	}
	if ((f->flags & ACK) && o->fin[!f->dir] && f->ack >= o->fin_end[!f->dir])
		o->acked[!f->dir] = true;
	if (f->dir == REPLY && (f->flags & SYN))
		o->synack = true;
	if (f->dir == ORIG && !(f->flags & SYN))
		o->original_after = true;
	if (!o->synack)
		return S(SYN_SENT);
	if (!o->original_after)
		return S(SYN_RECV);
	if (o->fin[0] && o->fin[1])
		return o->acked[0] && o->acked[1] ? S(TIME_WAIT) : S(LAST_ACK);
	if (o->fin[0] || o->fin[1])
		return o->acked[0] || o->acked[1] ? S(CLOSE_WAIT) : S(FIN_WAIT);
	return S(ESTABLISHED);
}

static void end_init(struct end *e)
{
	uint32_t i;

	memset(e, 0, sizeof(*e));
	e->isn = tap_one_in(2) ? isns[tap_below(N_ISNS)] : (uint32_t)tap_random();
	e->n = 2 + tap_below(MAX_SEGMENTS - 1);
	e->starts[1] = 1;
	for (i = 2; i < e->n; i++)
		e->starts[i] = e->starts[i - 1] + 1 + tap_below(tap_one_in(4) ? 65536 : 1460);
	e->starts[e->n] = e->starts[e->n - 1] + 1;
}

/* A segment: a new one, one sent before, or (when nothing is left) a bare ACK. */
static bool end_send(struct end *e, uint8_t dir, struct flight *f)
{
	uint32_t i = e->sent;

	if (!e->sent && dir == REPLY && !e->rcv)
		return false; /* a server waits for the SYN */
	if (e->sent == 1 && !e->una)
		i = 0; /* nothing but the SYN until it is acknowledged */
	else if (i == e->n || tap_one_in(3))
		i = e->sent ? tap_below(e->sent) : 0;
	*f = (struct flight){ .dir = dir, .seq = e->starts[i], .ack = e->rcv };
	f->flags = e->rcv ? ACK : 0;
	if (!i && (!e->una || tap_one_in(2))) {
		f->flags |= SYN;
	} else if (!i || (tap_one_in(4) && e->una)) {
		f->seq = e->starts[e->sent];
	} else if (i == e->n - 1) {
		f->flags |= FIN;
	} else {
		f->len = (uint32_t)(e->starts[i + 1] - e->starts[i]);
	}
	if (i == e->sent && (f->flags & (SYN | FIN) || f->len))
		e->sent++;
	return true;
}

static void end_receive(struct end *e, const struct flight *f)
{
	uint64_t behind = f->seq + f->len + !!(f->flags & SYN) + !!(f->flags & FIN);

	if (f->seq <= e->rcv && behind > e->rcv)
		e->rcv = behind;
	if ((f->flags & ACK) && f->ack > e->una)
		e->una = f->ack;
}

static bool converse(uint32_t *last)
{
	struct flight queue[16], f;
	struct sluice_tcp_dir tcp[2];
	struct oracle o = { 0 };
	uint8_t state = SLUICE_STATE_NONE, want;
	uint32_t n = 0, i;
	struct end e[2];

	end_init(&e[0]);
	end_init(&e[1]);
	for (i = 0; i < 5000; i++) {
		if (n < 16 && (n < 2 || tap_one_in(2))) {
			uint8_t dir = tap_below(2);

			if (!end_send(&e[dir], dir, &queue[n]) || tap_one_in(8))
				continue; /* lost before the middle */
			n++;
			continue;
		}
		{
			uint32_t k = tap_one_in(3) ? tap_below(n) : 0; /* reordered before it */
			struct sluice_l4 p;

			f = queue[k];
			memmove(queue + k, queue + k + 1, (n - k - 1) * sizeof(f));
			n--;
			p = (struct sluice_l4){
				.seq = (uint32_t)f.seq + e[f.dir].isn,
				.ack = f.flags & ACK ? (uint32_t)f.ack + e[!f.dir].isn : 0,
				.len = f.len,
				.flags = f.flags,
				.win = 60000,
				.wscale = 7,
			};
			if (!state)
				state = sluice_state_first(SLUICE_PROTO_TCP, &p, tcp);
			else
				state = sluice_tcp_next(state, f.dir, tcp, &p);
			want = oracle_state(&o, &f);
			if (!check(state == want,
				   "ISNs %x and %x: %s, expected %s after dir %u flags %x seq %" PRIu64
				   " ack %" PRIu64,
				   e[0].isn, e[1].isn, sluice_state_name(state),
				   sluice_state_name(want), f.dir, f.flags, f.seq, f.ack))
				return false;
		}
		if (!tap_one_in(8)) /* or lost behind the middle */
			end_receive(&e[!f.dir], &f);
		if (state == S(TIME_WAIT))
			break;
	}
	*last = state;
	return true;
}

static void test_random_conversations(void)
{
	uint32_t i, last, closed = 0;

	for (i = 0; i < 3000; i++) {
		if (!converse(&last))
			break;
		closed += last == S(TIME_WAIT);
	}
	ok_checks("random conversations with loss and reordering follow the oracle");
	ok(closed > 2900, "and nearly all come to their end (%u of 3000)", closed);
}

/* --- the rest --------------------------------------------------------------------------------- */

static void test_flags(void)
{
	uint32_t f;

	for (f = 0; f < 256; f++) {
		bool fin = f & FIN, syn = f & SYN, rst = f & RST, ack = f & ACK;
		/* RFC 9293: no segment but a SYN and a RST goes without ACK; these exclude others. */
		bool valid = (syn && !rst && !fin) || (rst && !syn && !fin) ||
			     (ack && !syn && !rst);

		check(sluice_tcp_flags_valid((uint8_t)f) == valid, "flags %02x", f);
		check(sluice_tcp_opens((uint8_t)f) == (syn && !ack && !rst), "opens: %02x", f);
	}
	ok_checks("all 256 combinations of TCP flags");

	for (f = 0; f < SLUICE_STATE_COUNT; f++) {
		bool gone = f == S(TIME_WAIT) || f == S(CLOSE) || f == S(LAST_ACK);

		check(sluice_tcp_reopens((uint8_t)f, SYN) == gone, "SYN in %s",
		      sluice_state_name(f));
		check(!sluice_tcp_reopens((uint8_t)f, SYN | ACK), "SYN+ACK in %s",
		      sluice_state_name(f));
		check(!sluice_tcp_reopens((uint8_t)f, ACK), "ACK in %s", sluice_state_name(f));
	}
	ok_checks("only a SYN reopens, only what is over");
}

static void test_sequence(void)
{
	uint32_t i;

	for (i = 0; i < 10000; i++) {
		uint32_t a = (uint32_t)tap_random(), d = 1 + tap_below(0x7fffffff);

		check(sluice_seq_before(a, a + d), "%x is not before %x", a, a + d);
		check(!sluice_seq_before(a + d, a), "%x is before %x", a + d, a);
		check(!sluice_seq_before(a, a), "%x is before itself", a);
	}
	ok_checks("sequence numbers wrap (RFC 1982)");
}

static uint8_t feed(uint8_t proto, uint8_t state, uint8_t dir, uint8_t type)
{
	struct sluice_l4 p = { .flags = type };
	struct sluice_tcp_dir tcp[2] = { { 0 } };

	if (!state)
		return sluice_state_first(proto, &p, tcp);
	return sluice_state_next(proto, state, dir, tcp, &p);
}

static void test_sctp(void)
{
	static const struct {
		uint8_t dir;
		uint8_t chunk;
		uint8_t want;
	} steps[] = {
		{ ORIG, SLUICE_SCTP_INIT, SLUICE_STATE_SCTP_INIT },
		{ ORIG, SLUICE_SCTP_INIT, SLUICE_STATE_SCTP_INIT },
		{ REPLY, SLUICE_SCTP_INIT_ACK, SLUICE_STATE_SCTP_INIT },
		{ ORIG, SLUICE_SCTP_COOKIE_ECHO, SLUICE_STATE_SCTP_INIT },
		{ REPLY, SLUICE_SCTP_COOKIE_ACK, SLUICE_STATE_SCTP_ESTABLISHED },
		{ ORIG, 0, SLUICE_STATE_SCTP_ESTABLISHED }, /* DATA */
		{ REPLY, 3, SLUICE_STATE_SCTP_ESTABLISHED }, /* SACK */
		{ ORIG, 4, SLUICE_STATE_SCTP_ESTABLISHED }, /* HEARTBEAT */
		{ REPLY, SLUICE_SCTP_SHUTDOWN, SLUICE_STATE_SCTP_SHUTDOWN },
		{ ORIG, 0, SLUICE_STATE_SCTP_SHUTDOWN },
		{ ORIG, SLUICE_SCTP_SHUTDOWN_ACK, SLUICE_STATE_SCTP_SHUTDOWN },
		{ REPLY, SLUICE_SCTP_SHUTDOWN_COMPLETE, SLUICE_STATE_SCTP_CLOSED },
		/* The same ports again before the entry has gone. */
		{ ORIG, SLUICE_SCTP_INIT, SLUICE_STATE_SCTP_CLOSED },
		{ REPLY, SLUICE_SCTP_INIT_ACK, SLUICE_STATE_SCTP_CLOSED },
		{ ORIG, SLUICE_SCTP_COOKIE_ECHO, SLUICE_STATE_SCTP_CLOSED },
		{ REPLY, SLUICE_SCTP_COOKIE_ACK, SLUICE_STATE_SCTP_ESTABLISHED },
		{ REPLY, SLUICE_SCTP_ABORT, SLUICE_STATE_SCTP_CLOSED },
	};
	uint8_t state = SLUICE_STATE_NONE;
	uint32_t i;

	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		state = feed(SLUICE_PROTO_SCTP, state, steps[i].dir, steps[i].chunk);
		check(state == steps[i].want, "SCTP step %u: %s, not %s", i,
		      sluice_state_name(state), sluice_state_name(steps[i].want));
	}
	ok_checks("SCTP: open, talk, shut down, open again, abort");
	is_u64(feed(SLUICE_PROTO_SCTP, 0, ORIG, SLUICE_SCTP_ABORT), SLUICE_STATE_NONE,
	       "SCTP: an ABORT opens nothing");
	is_u64(feed(SLUICE_PROTO_SCTP, 0, ORIG, SLUICE_SCTP_SHUTDOWN_COMPLETE), SLUICE_STATE_NONE,
	       "SCTP: nor does a SHUTDOWN COMPLETE");
	is_u64(feed(SLUICE_PROTO_SCTP, 0, ORIG, 0), SLUICE_STATE_SCTP_ESTABLISHED,
	       "SCTP: data in mid-stream is picked up");
}

static void test_datagrams(void)
{
	static const uint8_t protos[] = { 17, 1, 58, 50, 47 };
	uint32_t i;

	for (i = 0; i < sizeof(protos); i++) {
		uint8_t proto = protos[i], state = feed(proto, 0, ORIG, 8);
		uint8_t replied = proto == 1 || proto == 58 ? SLUICE_STATE_ICMP_REPLIED :
							      SLUICE_STATE_REPLIED;

		check(state == SLUICE_STATE_UNREPLIED, "proto %u: first", proto);
		state = feed(proto, state, ORIG, 8);
		check(state == SLUICE_STATE_UNREPLIED, "proto %u: the same side again", proto);
		state = feed(proto, state, REPLY, 0);
		check(state == replied, "proto %u: the reply", proto);
		state = feed(proto, state, ORIG, 8);
		check(state == replied, "proto %u: and on", proto);
	}
	ok_checks("UDP, ICMP and others: unreplied, then replied");
	is_u64(feed(SLUICE_PROTO_TCP, 0, ORIG, RST), SLUICE_STATE_NONE, "a reset opens nothing");
	is_u64(feed(SLUICE_PROTO_TCP, 0, ORIG, RST | ACK), SLUICE_STATE_NONE, "with ACK neither");
	for (i = 0; i < 65536; i++)
		check(feed(i & 0xff, SLUICE_STATE_DENIED, i >> 15, i >> 8) == SLUICE_STATE_DENIED,
		      "proto %u, type %u", i & 0xff, i >> 8 & 0x7f);
	ok_checks("no packet turns a negative entry into another");
}

static void test_answers(void)
{
	struct sluice_tuple t = { .sport = htons(80),
				  .dport = htons(40000),
				  .proto = SLUICE_PROTO_TCP,
				  .family = SLUICE_IPV4 },
			    inverse;
	struct sluice_tcp_dir tcp[2];
	struct sluice_l4 data = { .seq = 5000, .ack = 700, .len = 100, .flags = PSH | ACK };
	uint8_t state;

	sluice_tuple_invert(&inverse, &t);
	check(sluice_tcp_answers(&t, PSH | ACK), "a server's segment");
	check(sluice_tcp_answers(&t, SYN | ACK), "a server's first");
	check(!sluice_tcp_answers(&t, SYN), "it opens one itself");
	check(!sluice_tcp_answers(&inverse, PSH | ACK), "a client's segment");
	t.proto = SLUICE_PROTO_UDP;
	check(!sluice_tcp_answers(&t, PSH | ACK), "a datagram");
	ok_checks("what looks like an answer, by its lower port");

	/* Its record is the responder's; only the originator's packet makes it a connection of two. */
	state = sluice_state_first(SLUICE_PROTO_TCP, &data, tcp);
	tcp[REPLY] = tcp[ORIG];
	memset(&tcp[ORIG], 0, sizeof(tcp[ORIG]));
	state = sluice_state_next(SLUICE_PROTO_TCP, state, REPLY, tcp, &data);
	check(state == S(MIDSTREAM), "the responder alone: %s", sluice_state_name(state));
	data = (struct sluice_l4){ .seq = 700, .ack = 5100, .flags = ACK };
	state = sluice_state_next(SLUICE_PROTO_TCP, state, ORIG, tcp, &data);
	check(state == S(ESTABLISHED), "both: %s", sluice_state_name(state));
	ok_checks("picked up by an answer, established once the other side is heard");
}

static void test_states(void)
{
	uint32_t i;

	for (i = 1; i < SLUICE_STATE_COUNT; i++) {
		uint32_t timeout = sluice_state_timeout((uint8_t)i);
		uint8_t class = sluice_state_class((uint8_t)i);

		check(timeout > 0 && timeout <= 86400, "%s: %u s", sluice_state_name(i), timeout);
		check(class < SLUICE_EVICT_COUNT, "%s: class %u", sluice_state_name(i), class);
		/* What goes first must not be what lives longest, or a flood of it would win. */
		check(class == SLUICE_EVICT_ESTABLISHED || timeout <= 120, "%s: %u s of class %u",
		      sluice_state_name(i), timeout, class);
	}
	check(sluice_state_class(S(ESTABLISHED)) == SLUICE_EVICT_ESTABLISHED, "TCP");
	check(sluice_state_class(S(CLOSE_WAIT)) == SLUICE_EVICT_ESTABLISHED, "half closed TCP");
	check(sluice_state_class(SLUICE_STATE_SCTP_ESTABLISHED) == SLUICE_EVICT_ESTABLISHED,
	      "SCTP");
	check(!sluice_state_timeout(SLUICE_STATE_COUNT), "a state that does not exist has no time");
	check(sluice_state_class(255) == SLUICE_EVICT_CLOSING, "and goes first");
	ok_checks("every state has a timeout and a place in the order of eviction");
}

int main(void)
{
	tap_seed();
	test_flags();
	test_sequence();
	test_scripts();
	test_ack_field_without_ack();
	test_reset_window();
	test_random_conversations();
	test_sctp();
	test_datagrams();
	test_answers();
	test_states();
	return done_testing();
}
