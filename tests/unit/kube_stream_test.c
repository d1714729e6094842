// SPDX-License-Identifier: GPL-2.0-only
/* Lists and watches cut into objects; exec plugins' credentials; gzip of several members. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "ctl/lib/kube_exec.h"
#include "ctl/lib/kube_gunzip.h"
#include "ctl/lib/kube_stream.h"
#include "ctl/lib/selector.h"
#include "tests/unit/tap.h"

/* What came, as one text: "head(1) web(ADDED) !db(why)". */
struct log {
	char text[4096];
	uint64_t hash; /* of all objects */
	size_t largest; /* members of an object, with those of its metadata */
};

__attribute__((format(printf, 2, 3))) static void add(struct log *log, const char *fmt, ...)
{
	size_t n = strlen(log->text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(log->text + n, sizeof(log->text) - n, fmt, ap);
	va_end(ap);
}

static const char *name_of(const struct sluice_value *value)
{
	const struct sluice_value *object = sluice_value_get(value, "object") ?: value;

	return sluice_value_text(sluice_value_get(object, "metadata"), "name") ?: "?";
}

static int take_head(void *ctx, const struct sluice_value *value, struct sluice_err *err)
{
	const char *version =
		sluice_value_text(sluice_value_get(value, "metadata"), "resourceVersion");

	(void)err;
	add(ctx, "head(%s) ", version ?: "?");
	return 0;
}

static int take(void *ctx, const struct sluice_value *value, struct sluice_err *err)
{
	const struct sluice_value *meta = sluice_value_get(value, "metadata");
	const char *type = sluice_value_text(value, "type");
	struct log *log = ctx;

	(void)err;
	add(log, "%s%s%s%s ", name_of(value), type ? "(" : "", type ?: "", type ? ")" : "");
	log->hash = sluice_value_hash(log->hash, value);
	if (value->n + (meta ? meta->n : 0) > log->largest)
		log->largest = value->n + (meta ? meta->n : 0);
	return 0;
}

static int refuse(void *ctx, const struct sluice_value *value, const char *why,
		  struct sluice_err *err)
{
	(void)err;
	add(ctx, "!%s(%s) ", value ? name_of(value) : "-", why);
	return 0;
}

static const struct kube_stream_ops ops = { take_head, take, refuse };

/* Fed in pieces of so many bytes; 0: of random ones. What went wrong is added to the log. */
static void run(struct log *log, enum kube_stream_form form, enum sluice_kind kind,
		const char *text, size_t len, size_t piece)
{
	struct kube_stream *s = kube_stream_new(form, kube_fields(kind), &ops, log);
	int ret = 0;
	SLUICE_ERR(err);

	memset(log, 0, sizeof(*log));
	for (size_t at = 0, n; at < len && !ret; at += n) {
		n = piece ?: 1 + tap_below(40);
		if (n > len - at)
			n = len - at;
		ret = kube_stream_feed(s, text + at, n, &err);
	}
	if (!ret)
		kube_stream_end(s, &err);
	if (err.code)
		add(log, "error(%s)", sluice_err_msg(&err));
	kube_stream_free(s);
}

#define HEAD "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"7\"},"

static void test_forms(void)
{
	static const struct {
		enum kube_stream_form form;
		const char *text, *log, *name;
	} cases[] = {
		{ KUBE_LIST, HEAD "\"items\":[]}", "head(7) ", "an empty list" },
		{ KUBE_LIST, HEAD "\"items\":null}", "head(7) ",
		  "a list of null, as Go may write it" },
		{ KUBE_LIST,
		  HEAD
		  "\"items\":[{\"metadata\":{\"name\":\"a\"}} , {\"metadata\":{\"name\":\"b\"}}]} \n",
		  "head(7) a b ", "two items" },
		{ KUBE_LIST, HEAD "\"items\":[{\"metadata\":{\"name\":\"a\"}}]",
		  "head(7) a error(the list ends before its end)", "a list that ends early" },
		{ KUBE_LIST, "", "error(the list ends before its end)", "nothing at all" },
		{ KUBE_LIST, "{}", "error(this is not a list of objects)",
		  "an object that is no list" },
		{ KUBE_LIST, HEAD "\"items\":{}}", "error(this is not a list of objects)",
		  "items that are an object" },
		{ KUBE_LIST, HEAD "\"items\":[],\"items\":[]}",
		  "head(7) error(\"items\" is given twice)", "items twice" },
		{ KUBE_LIST, HEAD "\"items\":[]}{",
		  "head(7) error(not JSON: unexpected '{' at depth 0)",
		  "a list, and something after it" },
		{ KUBE_LIST,
		  "{\"items\":[{\"metadata\":{\"name\":\"a\"}}],"
		  "\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"7\"}}",
		  "a head(7) ", "a list whose metadata comes last, as of custom resources" },
		{ KUBE_LIST, HEAD "\"items\":[1,null,\"x\"]}", "head(7) ? ? ? ",
		  "items that are no objects" },
		{ KUBE_WATCH, "", "", "a watch without events" },
		{ KUBE_WATCH,
		  "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\"}}}\n"
		  "{\"object\":{\"metadata\":{\"name\":\"b\"}},\"type\":\"DELETED\"}\n",
		  "a(ADDED) b(DELETED) ", "two events" },
		{ KUBE_WATCH, "{\"type\":\"ADDED\"", "error(the stream ends within an event)",
		  "an event that is cut off" },
		{ KUBE_WATCH,
		  "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\"},\"spec\":{\"nodeName\":\"\\u0000\"}}}"
		  "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"b\"}}}",
		  "!a(not JSON: \\u0000 is not allowed) b(ADDED) ",
		  "one that cannot be read has its name, and others follow" },
		{ KUBE_WATCH,
		  "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"\\u0000\"}}}",
		  "!-(not JSON: \\u0000 is not allowed) ", "one whose name cannot be read" },
		{ KUBE_WATCH, "{\"type\":\"ADDED\",}", "error(not JSON: unexpected '}' at depth 1)",
		  "a comma too many" },
		{ KUBE_WATCH, "[]", "error(not JSON: unexpected '[' at depth 0)",
		  "a list in a watch" },
	};
	struct log log;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		run(&log, cases[i].form, SLUICE_KIND_POD, cases[i].text, strlen(cases[i].text),
		    1000000);
		is_str(log.text, cases[i].log, "%s", cases[i].name);
		run(&log, cases[i].form, SLUICE_KIND_POD, cases[i].text, strlen(cases[i].text), 1);
		is_str(log.text, cases[i].log, "%s, byte by byte", cases[i].name);
	}
}

/* A value of any shape, as JSON. */
static void put_value(FILE *f, unsigned int depth)
{
	static const char *const texts[] = { "\"\"",   "\"a\\\"]}\"", "\"\\\\\"", "\"[{\"",
					     "-1.5e3", "true",	      "null",	  "0" };
	unsigned int n = tap_below(4);

	if (!depth || tap_one_in(3)) {
		fputs(texts[tap_below(8)], f);
	} else if (tap_one_in(2)) {
		fputc('[', f);
		for (unsigned int i = 0; i < n; i++) {
			fputs(i ? ", " : "", f);
			put_value(f, depth - 1);
		}
		fputc(']', f);
	} else {
		fputc('{', f);
		for (unsigned int i = 0; i < n; i++) {
			fprintf(f, "%s\"k%u\":", i ? "," : "", i);
			put_value(f, depth - 1);
		}
		fputc('}', f);
	}
}

static void test_random(void)
{
	for (int round = 0; round < 300; round++) {
		struct log whole, pieces;
		char *text = NULL;
		size_t len = 0;
		FILE *f = open_memstream(&text, &len);

		for (int i = 0; i < 5; i++) {
			fprintf(f, "{\"type\":\"ADDED\", \"object\" : {\"spec\":");
			put_value(f, 5);
			fprintf(f, ",\"metadata\":{\"annotations\":");
			put_value(f, 5);
			fprintf(f, ",\"name\":\"p%d\",\"managedFields\":", i);
			put_value(f, 5);
			fprintf(f, "},\"status\":{\"conditions\":");
			put_value(f, 5);
			fprintf(f, ",\"podIP\":\"10.0.0.%d\"}}}\n", i);
		}
		fclose(f);
		run(&whole, KUBE_WATCH, SLUICE_KIND_POD, text, len, len);
		run(&pieces, KUBE_WATCH, SLUICE_KIND_POD, text, len, 0);
		check(!strcmp(whole.text, "p0(ADDED) p1(ADDED) p2(ADDED) p3(ADDED) p4(ADDED) "),
		      "round %d: %s", round, whole.text);
		check(whole.hash == pieces.hash && !strcmp(whole.text, pieces.text),
		      "round %d: in pieces %s", round, pieces.text);
		free(text);
	}
	ok_checks("events of any shape, in random pieces");
}

static void test_fields(void)
{
	static const char text[] = HEAD
		"\"items\":[{\"metadata\":{\"name\":\"a\",\"managedFields\":[{\"x\":[1]}],"
		"\"annotations\":{\"a\":\"b\"},\"finalizers\":[],\"labels\":{}},"
		"\"spec\":{\"volumes\":[{}]},\"status\":{\"hostIP\":\"1.2.3.4\"},\"other\":{}}]}";
	struct log log;

	run(&log, KUBE_LIST, SLUICE_KIND_POD, text, strlen(text), 7);
	/* metadata, spec, status; name, annotations, labels */
	ok(log.largest == 6, "of a pod what is read is kept: %zu fields", log.largest);
	run(&log, KUBE_LIST, SLUICE_KIND_NETWORK_POLICY, text, strlen(text), 7);
	ok(log.largest == 7, "of a policy unknown fields too: %zu", log.largest);
}

static void test_large(void)
{
	size_t len = 6u << 20, n;
	char *text = malloc(len + 4096);
	struct log log;

	n = sprintf(
		text,
		"{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"annotations\":{\"x\":\"");
	memset(text + n, 'x', len);
	n += len;
	n += sprintf(text + n,
		     "\"}}}}{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"b\"}}}");
	run(&log, KUBE_WATCH, SLUICE_KIND_POD, text, n, 16384);
	is_str(log.text, "a(ADDED) b(ADDED) ", "6 MiB in an annotation are nothing");
	free(text);
}

static void test_large_value(void)
{
	size_t len = 5u << 20, n;
	char *text = malloc(len + 4096);
	struct log log;

	n = sprintf(text, HEAD "\"items\":[{\"metadata\":{\"name\":\"a\",\"labels\":{\"x\":\"");
	memset(text + n, 'x', len);
	n += len;
	n += sprintf(text + n, "\"}}},{\"metadata\":{\"name\":\"b\"}}]}");
	run(&log, KUBE_LIST, SLUICE_KIND_POD, text, n, 16384);
	is_str(log.text, "head(7) !-(it is larger than 4 MiB) b ",
	       "5 MiB in a label cost one object");
	free(text);
}

static void test_credentials(void)
{
	static const char v1[] = "client.authentication.k8s.io/v1";
	static const struct {
		const char *status, *error;
		time_t expires;
	} cases[] = {
		{ "{\"token\":\"abc\"}", NULL, 0 },
		{ "{\"token\":\"abc\",\"expirationTimestamp\":\"2026-01-02T03:04:05Z\"}", NULL,
		  1767323045 },
		{ "{\"token\":\"abc\",\"expirationTimestamp\":\"2026-01-02T04:04:05.5+01:00\"}",
		  NULL, 1767323045 },
		{ "{\"clientCertificateData\":\"a\",\"clientKeyData\":\"b\"}", NULL, 0 },
		{ "{\"clientCertificateData\":\"a\"}",
		  "what it printed has one of clientCertificateData and clientKeyData alone", 0 },
		{ "{}", "what it printed has no token and no certificate", 0 },
		{ "{\"token\":\"a\\nb\"}", "the token holds what no token may", 0 },
		{ "{\"token\":\"a\",\"expirationTimestamp\":\"tomorrow\"}",
		  "expirationTimestamp: \"tomorrow\" is not a time", 0 },
	};
	struct kube_credential credential;
	char text[512];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		SLUICE_ERR(err);
		int n = snprintf(
			text, sizeof(text),
			"{\"kind\":\"ExecCredential\",\"apiVersion\":\"%s\",\"status\":%s}", v1,
			cases[i].status);

		kube_exec_parse(text, n, v1, &credential, &err);
		is_str(err.code ? sluice_err_msg(&err) : NULL, cases[i].error, "credential %s",
		       cases[i].status);
		ok(credential.expires == cases[i].expires, "and when it expires: %lld",
		   (long long)credential.expires);
		kube_credential_clear(&credential);
		sluice_err_clear(&err);
		kube_exec_parse(text, n, "client.authentication.k8s.io/v1beta1", &credential, &err);
		ok(err.code == EINVAL, "it is of the version that was asked for");
	}
}

static bool collect(void *ctx, const char *data, size_t len)
{
	struct log *log = ctx;

	add(log, "%.*s", (int)len, data);
	return true;
}

static size_t compress_member(unsigned char *out, size_t size, const char *text)
{
	z_stream z = { 0 };

	deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
	z.next_in = (unsigned char *)text;
	z.avail_in = strlen(text);
	z.next_out = out;
	z.avail_out = size;
	deflate(&z, Z_FINISH);
	deflateEnd(&z);
	return size - z.avail_out;
}

static void test_gunzip(void)
{
	unsigned char bytes[512];
	size_t n = compress_member(bytes, sizeof(bytes), "one ");

	n += compress_member(bytes + n, sizeof(bytes) - n, "two ");
	n += compress_member(bytes + n, sizeof(bytes) - n, "three");
	for (size_t piece = 1; piece <= n; piece += piece < 8 ? 1 : n - 8) {
		struct kube_gunzip *g = kube_gunzip_new();
		struct log log = { 0 };

		for (size_t at = 0; at < n; at += piece)
			check(!kube_gunzip_feed(g, (char *)bytes + at,
						n - at < piece ? n - at : piece, collect, &log,
						NULL),
			      "pieces of %zu", piece);
		check(!strcmp(log.text, "one two three"), "pieces of %zu: %s", piece, log.text);
		kube_gunzip_free(g);
	}
	ok_checks("three members of gzip are one text");
	{
		struct kube_gunzip *g = kube_gunzip_new();
		struct log log = { 0 };
		SLUICE_ERR(err);

		ok(kube_gunzip_feed(g, "{\"kind\"", 7, collect, &log, &err) == -EINVAL,
		   "JSON is not gzip: %s", sluice_err_msg(&err));
		kube_gunzip_free(g);
	}
}

int main(void)
{
	tap_seed();
	test_forms();
	test_random();
	test_fields();
	test_large();
	test_large_value();
	test_credentials();
	test_gunzip();
	return done_testing();
}
