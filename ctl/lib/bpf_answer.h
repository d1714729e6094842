/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Answers the requests of uapi/sluice.h from the maps of the eBPF variant (bpf/layout.h), in this process, as the
 * module would answer them: nl.h hands them here when a namespace has such maps, and its callers do not see the
 * difference. What writes the state (BEGIN, UPDATE, DELETE, COMMIT, ABORT) is refused: the eBPF data plane
 * writes the maps itself.
 *
 * An answer is as of one revision. A dump that met a commit says so, as the kernel's do (*interrupted), and
 * is asked for again. Names and what else is for people alone have no versions: while a transaction runs
 * they may be those of the next revision.
 *
 * Errors are those of the kernel's extended ack, with its words; and of its own
 *	EPROTO		maps of another layout, or a pin that is missing
 * Not thread-safe, as all of nl.h.
 */
#ifndef SLUICE_CTL_LIB_BPF_ANSWER_H
#define SLUICE_CTL_LIB_BPF_ANSWER_H

#include "ctl/lib/nl.h"

struct sluice_bpf_answerer;

/*
 * Opens the maps of this thread's network namespace. 0 with *a NULL: there are none. EACCES: one cannot
 * know, for lack of rights.
 */
int sluice_bpf_answer_open(struct sluice_bpf_answerer **a, struct sluice_err *err);
void sluice_bpf_answer_close(struct sluice_bpf_answerer *a); /* NULL: nothing */

/* One request and all of its answer. interrupted is only ever set. */
int sluice_bpf_answer(struct sluice_bpf_answerer *a, const struct nlmsghdr *request,
		      sluice_nl_handler handle, void *arg, bool *interrupted,
		      struct sluice_err *err);

/* As sluice_nl_subscribe() and sluice_nl_receive(). EBUSY: as many listen already as can. */
int sluice_bpf_answer_subscribe(struct sluice_bpf_answerer *a, struct sluice_err *err);
int sluice_bpf_answer_receive(struct sluice_bpf_answerer *a, sluice_nl_handler handle, void *arg,
			      struct sluice_err *err);

#endif
