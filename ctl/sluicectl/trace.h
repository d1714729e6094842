/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sluicectl trace: what would become of a packet.
 *
 * trace.c reads the options and the probes and answers from manifests; without manifests
 * trace_running.c answers from the running data plane. Both speak through struct
 * sluice_probe_result, so that they print the same.
 */
#ifndef SLUICECTL_TRACE_H
#define SLUICECTL_TRACE_H

#include "ctl/lib/probe.h"
#include "ctl/sluicectl/command.h"

extern const struct option_spec trace_options[];

/* Arguments behind the options are further manifests, as in "--manifests *.yaml". */
int run_trace(const struct invocation *inv, struct sluice_err *err);

/*
 * Answers one probe; called by run_trace() for each. An error becomes the answer to that probe.
 */
struct trace_running;
struct trace_running *trace_running_open(struct sluice_err *err);
int trace_running_probe(struct trace_running *ctx, const struct sluice_probe *probe,
			struct sluice_probe_result *result, struct sluice_err *err);
void trace_running_close(struct trace_running *ctx);

#endif
