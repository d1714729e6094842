/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Speaks with the data plane of this node (uapi/sluice.h is the manual of what is said): through a socket of Sluice's
 * generic netlink family with the module; or, where the network namespace has maps of the eBPF variant, with
 * these, in this process (bpf_answer.h). Callers see no difference.
 *
 *	struct sluice_nl nl;
 *
 *	sluice_nl_open(&nl, &err);
 *	msg = sluice_nl_message(&nl, SLUICE_CMD_GET_INFO, 0, &err);
 *	ret = sluice_nl_call(&nl, msg, on_info, &info, &err);	// frees msg
 *	sluice_nl_close(&nl);
 *
 * Errors carry what the kernel's extended ack said: the object of the request it is about, the
 * attribute, the reason. err->code is the kernel's errno, and of its own
 *	ENOPROTOOPT	there are no maps, and the module is not loaded (or was unloaded since)
 *	EPROTO		an answer that this build does not understand
 *	ENOBUFS		the kernel had to throw an answer away
 *
 * Not thread-safe: a socket belongs to one thread. A socket speaks for the network namespace that it
 * was opened in, for ever.
 */
#ifndef SLUICE_CTL_LIB_NL_H
#define SLUICE_CTL_LIB_NL_H

#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/socket.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/lib/err.h"
#include "uapi/sluice.h"

struct sluice_bpf_answerer;

struct sluice_nl {
	struct sluice_bpf_answerer
		*bpf; /* answers from maps; NULL: all below counts, the module answers */
	struct nl_sock *sock;
	int family; /* the message type; the kernel gives it out anew at each load of the module */
	int group; /* of the events */
	unsigned char *buf; /* SLUICE_NL_RECEIVE_BYTES */
};

/*
 * What one recv() takes. The kernel fills dump messages up to 32 KiB, and one object may be longer
 * than that: a service with 8,000 backends has 64 KiB.
 */
#define SLUICE_NL_RECEIVE_BYTES (128U << 10)

/* Objects of one message: 48 KiB, so that it stays an allocation of few pages in the kernel. */
#define SLUICE_NL_MESSAGE_BYTES (48U << 10)

/* The longest payload of one attribute: its length field has 16 bits and counts the header. */
#define SLUICE_NL_ATTR_MAX (65535U - NLA_HDRLEN)

/*
 * Called for each message of an answer. attrs: the top level, [SLUICE_A_MAX + 1], valid during the
 * call. Returns 0 to go on, else a negative errno with err set; the rest is then thrown away.
 */
typedef int (*sluice_nl_handler)(struct nlattr **attrs, void *arg, struct sluice_err *err);

int sluice_nl_open(struct sluice_nl *nl, struct sluice_err *err);
/* With the module, whatever maps there are: for whoever writes its state. */
int sluice_nl_open_module(struct sluice_nl *nl, struct sluice_err *err);
void sluice_nl_close(struct sluice_nl *nl); /* also of one that was never opened, if zeroed */

/* Which data plane answers: "module" or "bpf". */
const char *sluice_nl_dataplane(const struct sluice_nl *nl);

/*
 * An empty request of a command with room for this many bytes of attributes (0: a page). Its
 * owner is the caller, until it is handed to sluice_nl_call() or a dump. NULL: out of memory.
 */
struct nl_msg *sluice_nl_message(struct sluice_nl *nl, uint8_t cmd, size_t room,
				 struct sluice_err *err);

/* Sends, hands on the answers (handle may be NULL), waits for the ack. Frees msg; NULL is refused. */
int sluice_nl_call(struct sluice_nl *nl, struct nl_msg *msg, sluice_nl_handler handle, void *arg,
		   struct sluice_err *err);

/*
 * Dumps. stream() hands on each message as it comes, for tables that never stand still
 * (connections). dump() hands on nothing before it has all of one consistent state, and starts
 * over when the kernel says that it changed in between; EAGAIN after several attempts. Both free
 * msg.
 */
int sluice_nl_stream(struct sluice_nl *nl, struct nl_msg *msg, sluice_nl_handler handle, void *arg,
		     struct sluice_err *err);
int sluice_nl_dump(struct sluice_nl *nl, struct nl_msg *msg, sluice_nl_handler handle, void *arg,
		   struct sluice_err *err);

/*
 * Events. After subscribe the socket is for events alone. receive() waits for one datagram and hands
 * on what it holds; ENOBUFS when the kernel had to drop some, which is no reason to stop.
 */
int sluice_nl_subscribe(struct sluice_nl *nl, struct sluice_err *err);
int sluice_nl_receive(struct sluice_nl *nl, sluice_nl_handler handle, void *arg,
		      struct sluice_err *err);

/*
 * Turns a kernel's answer of type NLMSG_ERROR or NLMSG_DONE into an error object; 0 where it is a
 * plain ack. request: what it answers. Exposed for the tests, which have no kernel.
 */
int sluice_nl_error(const struct nlmsghdr *request, const struct nlmsghdr *answer,
		    struct sluice_err *err);

/*
 * The same for an error that was found in this process: code and why as a kernel's extended ack would have brought
 * them. attr: what of the request it is about, or NULL. Returns -code.
 */
int sluice_nl_refuse(const struct nlmsghdr *request, const struct nlattr *attr, int code,
		     const char *why, struct sluice_err *err);

#endif
