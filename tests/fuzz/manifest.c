// SPDX-License-Identifier: GPL-2.0-only
/*
 * Any text as a manifest: it is parsed, decoded, applied, compiled for all its pods, and compiled
 * again after the text's second half came in its place. Nothing may crash, leak or hang, the
 * rulesets must be such as the data plane takes, and what was compiled incrementally must be what a
 * new compiler makes of the same objects.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/compiler.h"
#include "ctl/lib/dataplane_memory.h"
#include "ctl/lib/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void sync_or_die(struct sluice_compiler *c, struct sluice_dataplane *dp)
{
	SLUICE_ERR(err);

	if (sluice_compiler_sync(c, dp, false, &err)) {
		fprintf(stderr, "%s\n", sluice_err_msg(&err));
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sluice_model *model = sluice_model_new();
	struct sluice_manifests *set = sluice_manifests_new(model);
	struct sluice_compiler *c = sluice_compiler_new(model, "node"), *again;
	struct sluice_dataplane *dp = sluice_memory_new(), *fresh = sluice_memory_new();
	char *a, *b;
	size_t n;

	sluice_compiler_attach_all(c);
	sluice_manifests_load_text(set, "fuzz.yaml", (const char *)data, size);
	sync_or_die(c, dp);
	sluice_manifests_load_text(set, "fuzz.yaml", (const char *)data + size / 2,
				   size - size / 2);
	sync_or_die(c, dp);
	sluice_manifests_problems(set, &n);

	again = sluice_compiler_new(model, "node");
	sluice_compiler_attach_all(again);
	sync_or_die(again, fresh);
	a = sluice_memory_dump(dp);
	b = sluice_memory_dump(fresh);
	if (strcmp(a, b))
		abort();
	free(a);
	free(b);
	sluice_compiler_free(again);
	sluice_compiler_free(c);
	fresh->ops->close(fresh);
	dp->ops->close(dp);
	sluice_manifests_free(set);
	sluice_model_free(model);
	return 0;
}
