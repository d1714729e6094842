// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/doctor.h"
#include "ctl/sluicectl/command.h"
#include "ctl/sluicectl/output.h"

static void print_json(const struct sluice_doctor *d)
{
	json_t *findings = json_array(), *limits = json_array();
	struct sluice_bpf_limit limit;

	for (size_t i = 0; i < d->n; i++) {
		const struct sluice_finding *f = &d->findings[i];

		json_array_append_new(findings,
				      json_pack("{s:s, s:s, s:s, s:s?}", "name", f->name, "level",
						sluice_finding_level_name(f->level), "text",
						f->text, "remedy", f->remedy));
	}
	for (size_t i = 0; sluice_doctor_limit(d, i, &limit); i++)
		json_array_append_new(limits,
				      json_pack("{s:s, s:s, s:b}", "what", limit.what, "effect",
						limit.effect, "here", limit.here));
	json_print(json_pack("{s:s?, s:b, s:b, s:b, s:o, s:o}", "dataplane",
			     sluice_doctor_choice(d), "moduleAnswers", d->module_answers,
			     "moduleCanLoad", d->module_can_load, "bpfWorks", d->bpf_works,
			     "findings", findings, "bpfLimits", limits));
}

static void print_text(const struct sluice_doctor *d)
{
	const char *choice = sluice_doctor_choice(d);
	struct sluice_bpf_limit limit;
	struct table table;

	table_begin(&table, "WHAT", "", "FINDING");
	for (size_t i = 0; i < d->n; i++) {
		const struct sluice_finding *f = &d->findings[i];

		table_add(&table, "%s", f->name);
		table_add(&table, "%s", sluice_finding_level_name(f->level));
		table_add(&table, "%s", f->text);
		if (!f->remedy)
			continue;
		table_add(&table, "%s", "");
		table_add(&table, "%s", "");
		table_add(&table, "  remedy: %s", f->remedy);
	}
	table_end(&table);
	if (!choice) {
		puts("\nNo data plane can run here.");
		return;
	}
	printf("\nsluiced --dataplane=auto takes: %s\n", choice);
	if (d->module_answers)
		return;
	puts("\nWhat it lacks here, beside the module:");
	for (size_t i = 0; sluice_doctor_limit(d, i, &limit); i++)
		if (limit.here)
			printf("  %s: %s\n", limit.what, limit.effect);
}

int run_doctor(const struct invocation *inv, struct sluice_err *err)
{
	struct sluice_doctor d;
	int ret = 0;

	sluice_doctor_look(&d);
	if (inv->json)
		print_json(&d);
	else
		print_text(&d);
	if (!sluice_doctor_choice(&d))
		ret = sluice_err_set(err, ENOTSUP, "no data plane can run here");
	sluice_doctor_free(&d);
	return ret;
}
