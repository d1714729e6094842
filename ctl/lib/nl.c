// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/nl.h"

#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "ctl/lib/bpf_answer.h"
#include "ctl/lib/nl_object.h"

#define ATTEMPTS 10 /* to dump a state that does not change meanwhile */

/*
 * The kernel works a request off inside of sendmsg(), so the answer is there when that returns. An
 * answer that does not come was lost.
 */
#define ANSWER_SECONDS 30

/*
 * A message goes out whole or not at all, and libnl makes room for 64 KiB, headers included: less than
 * one service with many backends has. The kernel doubles this, and takes up to 208 KiB of anybody.
 */
#define SEND_BUFFER_BYTES (128 << 10)

/* Events arrive in bursts (a policy change denies thousands): room for some 20,000 of them. */
#define EVENT_BUFFER_BYTES (8 << 20)

/* The text of a libnl error; its numbers are its own. */
static int set_libnl_error(struct sluice_err *err, int nle, const char *what)
{
	static const struct {
		int nle;
		int code;
	} codes[] = {
		{ NLE_NOMEM, ENOMEM },	  { NLE_PERM, EPERM },		{ NLE_NOACCESS, EACCES },
		{ NLE_INTR, EINTR },	  { NLE_MSG_TOOSHORT, EPROTO }, { NLE_MSGSIZE, EMSGSIZE },
		{ NLE_AGAIN, ETIMEDOUT }, { NLE_BUSY, EBUSY },		{ NLE_NODEV, ENODEV },
	};
	int code = EIO;

	nle = abs(nle);
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].nle == nle)
			code = codes[i].code;
	return sluice_err_set(err, code, "%s: %s", what, nl_geterror(nle));
}

static int set_not_loaded(struct sluice_err *err)
{
	return sluice_err_set(err, ENOPROTOOPT,
			      "the kernel has no generic netlink family \"" SLUICE_GENL_NAME
			      "\", and this network namespace no maps of the eBPF variant: is the "
			      "module loaded (modprobe sluice), or sluiced running?");
}

int sluice_nl_open(struct sluice_nl *nl, struct sluice_err *err)
{
	int ret;
	SLUICE_ERR(maps_err);

	*nl = (struct sluice_nl){ .group = -1 };
	ret = sluice_bpf_answer_open(&nl->bpf, &maps_err);
	if (ret && ret != -EACCES)
		return sluice_err_move(err, &maps_err);
	if (nl->bpf)
		return 0;
	ret = sluice_nl_open_module(nl, err);
	/* Whoever may not look whether there are maps is told so, not that there are none. */
	if (ret == -ENOPROTOOPT && sluice_err_is_set(&maps_err))
		return sluice_err_move(err, &maps_err);
	return ret;
}

const char *sluice_nl_dataplane(const struct sluice_nl *nl)
{
	return nl->bpf ? "bpf" : "module";
}

int sluice_nl_open_module(struct sluice_nl *nl, struct sluice_err *err)
{
	struct timeval patience = { .tv_sec = ANSWER_SECONDS };
	int on = 1, room = SEND_BUFFER_BYTES, fd, ret;

	*nl = (struct sluice_nl){ .group = -1 };
	nl->buf = malloc(SLUICE_NL_RECEIVE_BYTES);
	nl->sock = nl_socket_alloc();
	if (!nl->buf || !nl->sock) {
		ret = sluice_err_set(err, ENOMEM, "out of memory");
		goto close;
	}
	ret = genl_connect(nl->sock);
	if (ret) {
		ret = set_libnl_error(err, ret, "generic netlink socket");
		goto close;
	}
	/*
	 * Asked with libnl's own means; the options that follow change answers in ways that it does
	 * not know.
	 */
	ret = genl_ctrl_resolve(nl->sock, SLUICE_GENL_NAME);
	if (ret < 0) {
		ret = ret == -NLE_OBJ_NOTFOUND ? set_not_loaded(err) :
						 set_libnl_error(err, ret, "look up the family");
		goto close;
	}
	nl->family = ret;
	nl->group = genl_ctrl_resolve_grp(nl->sock, SLUICE_GENL_NAME, SLUICE_GENL_GROUP_EVENTS);

	fd = nl_socket_get_fd(nl->sock);
	/* An error says which attribute and why, and does not repeat the 48 KiB of the request. */
	if (setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience))) {
		ret = sluice_err_errno(err, errno, "options of the netlink socket");
		goto close;
	}
	/* Refused by kernels that do not know it; dumps are then filtered no less strictly by ours. */
	setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	return 0;

close:
	sluice_nl_close(nl);
	return ret;
}

void sluice_nl_close(struct sluice_nl *nl)
{
	sluice_bpf_answer_close(nl->bpf);
	if (nl->sock)
		nl_socket_free(nl->sock);
	free(nl->buf);
	*nl = (struct sluice_nl){ .group = -1 };
}

struct nl_msg *sluice_nl_message(struct sluice_nl *nl, uint8_t cmd, size_t room,
				 struct sluice_err *err)
{
	struct nl_msg *msg = room ? nlmsg_alloc_size(NLMSG_HDRLEN + GENL_HDRLEN + room) :
				    nlmsg_alloc();

	if (msg && !genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, nl->family, 0, 0, cmd,
				SLUICE_GENL_VERSION)) {
		nlmsg_free(msg);
		msg = NULL;
	}
	if (!msg)
		sluice_err_set(err, ENOMEM, "out of memory");
	return msg;
}

/* An attribute's name by the names of its nest and of those around it, outermost first. */
static void name_attribute(const struct nlmsghdr *request, uint32_t offset, char *text, size_t size)
{
	const char *base = (const char *)request, *want = base + offset;
	const struct nlattr *nla = (const void *)(base + NLMSG_HDRLEN + GENL_HDRLEN);
	int left = (int)request->nlmsg_len - NLMSG_HDRLEN - GENL_HDRLEN;
	size_t used = 0;
	int nest = 0;

	*text = '\0';
	while (nla_ok(nla, left)) {
		int type = nla_type(nla), n;

		if (want < (const char *)nla ||
		    want >= (const char *)nla + NLA_ALIGN(nla->nla_len)) {
			nla = nla_next(nla, &left);
			continue;
		}
		n = snprintf(text + used, size - used, "%s%s", used ? "." : "",
			     sluice_nl_attr_name(nest, type));
		if (n < 0 || (size_t)n >= size - used)
			return;
		used += n;
		nest = sluice_nl_attr_nest(nest, type);
		if (nest <= 0 || want == (const char *)nla)
			return;
		left = nla_len(nla);
		nla = nla_data(nla);
	}
}

/* The top-level attribute that holds this offset: the object that the error is about. */
static const struct nlattr *object_at(const struct nlmsghdr *request, uint32_t offset)
{
	const char *want = (const char *)request + offset;
	const struct nlattr *nla =
		(const void *)((const char *)request + NLMSG_HDRLEN + GENL_HDRLEN);
	int left = (int)request->nlmsg_len - NLMSG_HDRLEN - GENL_HDRLEN;

	for (; nla_ok(nla, left); nla = nla_next(nla, &left))
		if (want >= (const char *)nla && want < (const char *)nla + NLA_ALIGN(nla->nla_len))
			return nla;
	return NULL;
}

/* What an extended ack says. */
struct refusal {
	int code; /* positive errno */
	const char *why; /* may be NULL */
	bool has_offset;
	uint32_t offset; /* of the attribute in the request */
	uint32_t missing; /* number of an attribute that is missing there; 0: none is */
};

static int set_refusal(struct sluice_err *err, const struct nlmsghdr *request,
		       const struct refusal *r)
{
	char attribute[128] = "", name[SLUICE_NL_OBJECT_TEXT];
	const struct nlattr *object;

	if (r->why)
		sluice_err_set(err, r->code, "%s (%s)", r->why, strerror(r->code));
	else if (r->code == EPERM)
		sluice_err_set(err, r->code,
			       "the kernel refuses: it takes CAP_NET_ADMIN in the initial user "
			       "namespace");
	else
		sluice_err_set(err, r->code, "%s", strerror(r->code));
	if (!r->has_offset)
		return -r->code;
	name_attribute(request, r->offset, attribute, sizeof(attribute));
	if (r->missing)
		sluice_err_prefix(err, "attribute %u of %s is missing", r->missing, attribute);
	else if (*attribute)
		sluice_err_prefix(err, "attribute %s", attribute);
	object = object_at(request, r->offset);
	if (object && sluice_nl_object_text(object, name))
		sluice_err_prefix(err, "%s", name);
	return -r->code;
}

int sluice_nl_refuse(const struct nlmsghdr *request, const struct nlattr *attr, int code,
		     const char *why, struct sluice_err *err)
{
	struct refusal r = { .code = code, .why = why, .has_offset = attr };

	if (attr)
		r.offset = (uint32_t)((const char *)attr - (const char *)request);
	return set_refusal(err, request, &r);
}

int sluice_nl_error(const struct nlmsghdr *request, const struct nlmsghdr *answer,
		    struct sluice_err *err)
{
	const struct nlattr *tlv;
	struct refusal r = { 0 };
	int left, code, skip;

	if (nlmsg_datalen(answer) < (int)sizeof(int))
		return answer->nlmsg_type == NLMSG_DONE ?
			       0 :
			       sluice_err_set(err, EPROTO, "the kernel sent a short ack");
	memcpy(&code, nlmsg_data(answer), sizeof(code));
	if (code >= 0)
		return 0;

	skip = sizeof(int);
	if (answer->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *e = nlmsg_data(answer);

		skip = sizeof(*e);
		if (!(answer->nlmsg_flags & NLM_F_CAPPED) &&
		    nlmsg_datalen(answer) >= (int)sizeof(*e) && e->msg.nlmsg_len >= NLMSG_HDRLEN &&
		    e->msg.nlmsg_len <= (uint32_t)nlmsg_datalen(answer))
			skip += NLMSG_ALIGN(e->msg.nlmsg_len) - NLMSG_HDRLEN;
	}
	left = nlmsg_datalen(answer) - skip;
	if (left > 0 && (answer->nlmsg_flags & NLM_F_ACK_TLVS)) {
		tlv = (const void *)((const char *)nlmsg_data(answer) + skip);
		for (; nla_ok(tlv, left); tlv = nla_next(tlv, &left)) {
			const char *text = nla_data(tlv);

			if (nla_type(tlv) == NLMSGERR_ATTR_MSG && nla_len(tlv) > 0 &&
			    !text[nla_len(tlv) - 1]) {
				r.why = text;
			} else if (nla_type(tlv) == NLMSGERR_ATTR_OFFS &&
				   nla_len(tlv) >= (int)sizeof(r.offset)) {
				memcpy(&r.offset, text, sizeof(r.offset));
				r.has_offset = true;
			} else if (nla_type(tlv) == 5 /* NLMSGERR_ATTR_MISS_TYPE: not in 5.10's */ &&
				   nla_len(tlv) >= (int)sizeof(r.missing)) {
				memcpy(&r.missing, text, sizeof(r.missing));
			}
		}
	}
	/* The kernel's own numbers end at MAX_ERRNO. */
	r.code = code < -4095 ? EPROTO : -code;
	return set_refusal(err, request, &r);
}

/* One datagram into nl->buf. Returns its length, or a negative errno. */
static ssize_t receive_datagram(struct sluice_nl *nl, struct sluice_err *err)
{
	ssize_t n;

	do {
		n = recv(nl_socket_get_fd(nl->sock), nl->buf, SLUICE_NL_RECEIVE_BYTES, MSG_TRUNC);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return sluice_err_set(err, ETIMEDOUT, "the kernel did not answer");
	if (n < 0)
		return sluice_err_errno(err, errno, "netlink");
	if (n > SLUICE_NL_RECEIVE_BYTES)
		return sluice_err_set(err, EPROTO, "the kernel sent a message of %zd bytes", n);
	return n;
}

static int hand_on(const struct nlmsghdr *hdr, sluice_nl_handler handle, void *arg,
		   struct sluice_err *err)
{
	struct nlattr *attrs[SLUICE_A_MAX + 1];

	if (!handle)
		return 0;
	if (nlmsg_datalen(hdr) < (int)GENL_HDRLEN ||
	    nla_parse(attrs, SLUICE_A_MAX, (void *)((char *)nlmsg_data(hdr) + GENL_HDRLEN),
		      nlmsg_datalen(hdr) - GENL_HDRLEN, NULL))
		return sluice_err_set(err, EPROTO, "the kernel sent a message that ends too early");
	return handle(attrs, arg, err);
}

/* Takes in the whole answer, also after an error of the handler: the next request needs a clean socket. */
static int receive_answer(struct sluice_nl *nl, const struct nlmsghdr *request,
			  sluice_nl_handler handle, void *arg, bool *interrupted,
			  struct sluice_err *err)
{
	int failed = 0, ret;

	for (;;) {
		ssize_t n = receive_datagram(nl, err);
		struct nlmsghdr *hdr = (void *)nl->buf;
		int left = (int)n;

		if (n < 0)
			return (int)n;
		for (; nlmsg_ok(hdr, left); hdr = nlmsg_next(hdr, &left)) {
			if (hdr->nlmsg_seq != request->nlmsg_seq)
				continue; /* of an earlier request, given up on */
			if (hdr->nlmsg_flags & NLM_F_DUMP_INTR)
				*interrupted = true;
			if (hdr->nlmsg_type == NLMSG_ERROR || hdr->nlmsg_type == NLMSG_DONE) {
				if (failed)
					return failed;
				ret = sluice_nl_error(request, hdr, err);
				/* The type of a message is a family's number: it is gone. */
				if (ret == -ENOENT && hdr->nlmsg_type == NLMSG_ERROR &&
				    !(hdr->nlmsg_flags & NLM_F_ACK_TLVS))
					return set_not_loaded(err);
				return ret;
			}
			if (!failed && hdr->nlmsg_type == nl->family)
				failed = hand_on(hdr, handle, arg, err);
		}
	}
}

static int exchange(struct sluice_nl *nl, struct nl_msg *msg, sluice_nl_handler handle, void *arg,
		    bool *interrupted, struct sluice_err *err)
{
	int ret;

	if (nl->bpf)
		return sluice_bpf_answer(nl->bpf, nlmsg_hdr(msg), handle, arg, interrupted, err);
	/* Numbered anew: a message may be sent a second time. */
	nlmsg_hdr(msg)->nlmsg_seq = nl_socket_use_seq(nl->sock);
	errno = 0;
	ret = nl_send_auto(nl->sock, msg);
	if (ret < 0)
		return sluice_err_errno(err, errno ? errno : EIO, "send to the kernel");
	return receive_answer(nl, nlmsg_hdr(msg), handle, arg, interrupted, err);
}

int sluice_nl_call(struct sluice_nl *nl, struct nl_msg *msg, sluice_nl_handler handle, void *arg,
		   struct sluice_err *err)
{
	bool interrupted = false;
	int ret;

	if (!msg)
		return sluice_err_set(err, ENOMEM, "out of memory");
	ret = exchange(nl, msg, handle, arg, &interrupted, err);
	nlmsg_free(msg);
	return ret;
}

int sluice_nl_stream(struct sluice_nl *nl, struct nl_msg *msg, sluice_nl_handler handle, void *arg,
		     struct sluice_err *err)
{
	if (msg)
		nlmsg_hdr(msg)->nlmsg_flags |= NLM_F_DUMP;
	return sluice_nl_call(nl, msg, handle, arg, err);
}

/* Messages kept until all of them have come. */
struct pile {
	char *data; /* a length (u32), then as many bytes of attributes, each padded to 4 */
	size_t len;
	size_t cap;
};

static int keep_message(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	struct pile *pile = arg;

	/* A dump's message holds one object: keep each attribute as a message of its own. */
	for (int i = 1; i <= SLUICE_A_MAX; i++) {
		size_t need = attrs[i] ? NLA_ALIGN(attrs[i]->nla_len) : 0;

		if (!need)
			continue;
		if (pile->len + need > pile->cap) {
			size_t cap = (pile->cap ? pile->cap * 2 : 65536) + need;
			char *data = realloc(pile->data, cap);

			if (!data)
				return sluice_err_set(err, ENOMEM, "out of memory");
			pile->data = data;
			pile->cap = cap;
		}
		memset(pile->data + pile->len, 0, need);
		memcpy(pile->data + pile->len, attrs[i], attrs[i]->nla_len);
		pile->len += need;
	}
	return 0;
}

int sluice_nl_dump(struct sluice_nl *nl, struct nl_msg *msg, sluice_nl_handler handle, void *arg,
		   struct sluice_err *err)
{
	struct pile pile = { 0 };
	struct nlattr *attrs[SLUICE_A_MAX + 1];
	bool interrupted = true;
	int ret = 0;

	if (!msg)
		return sluice_err_set(err, ENOMEM, "out of memory");
	nlmsg_hdr(msg)->nlmsg_flags |= NLM_F_DUMP;
	for (int i = 0; i < ATTEMPTS && !ret && interrupted; i++) {
		pile.len = 0;
		interrupted = false;
		ret = exchange(nl, msg, keep_message, &pile, &interrupted, err);
	}
	nlmsg_free(msg);
	if (!ret && interrupted)
		ret = sluice_err_set(err, EAGAIN,
				     "the state changed each time that it was read, %d times",
				     ATTEMPTS);
	for (size_t at = 0; !ret && at < pile.len;) {
		struct nlattr *nla = (void *)(pile.data + at);

		memset(attrs, 0, sizeof(attrs));
		attrs[nla_type(nla)] = nla;
		at += NLA_ALIGN(nla->nla_len);
		ret = handle(attrs, arg, err);
	}
	free(pile.data);
	return ret;
}

int sluice_nl_subscribe(struct sluice_nl *nl, struct sluice_err *err)
{
	struct timeval for_ever = { 0 };
	int size = EVENT_BUFFER_BYTES, fd, ret;

	if (nl->bpf)
		return sluice_bpf_answer_subscribe(nl->bpf, err);
	fd = nl_socket_get_fd(nl->sock);
	if (nl->group < 0)
		return sluice_err_set(
			err, EPROTO,
			"the module has no multicast group \"" SLUICE_GENL_GROUP_EVENTS "\"");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &for_ever, sizeof(for_ever)))
		return sluice_err_errno(err, errno, "options of the netlink socket");
	ret = nl_socket_add_membership(nl->sock, nl->group);
	if (ret == -NLE_PERM)
		return sluice_err_set(
			err, EPERM,
			"the kernel refuses: it takes CAP_NET_ADMIN in the initial user "
			"namespace");
	if (ret)
		return set_libnl_error(err, ret, "subscribe to the events");
	return 0;
}

int sluice_nl_receive(struct sluice_nl *nl, sluice_nl_handler handle, void *arg,
		      struct sluice_err *err)
{
	struct nlmsghdr *hdr = (void *)nl->buf;
	ssize_t n;
	int left, ret;

	if (nl->bpf)
		return sluice_bpf_answer_receive(nl->bpf, handle, arg, err);
	n = receive_datagram(nl, err);
	if (n < 0)
		return (int)n;
	left = (int)n;
	for (; nlmsg_ok(hdr, left); hdr = nlmsg_next(hdr, &left)) {
		if (hdr->nlmsg_type != nl->family)
			continue;
		ret = hand_on(hdr, handle, arg, err);
		if (ret)
			return ret;
	}
	return 0;
}
