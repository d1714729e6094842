// SPDX-License-Identifier: GPL-2.0-only
/*
 * Any bytes as a kubeconfig, as what an exec plugin prints, and as gzip; the first byte says which. Nothing may
 * crash or leak, what is taken must be whole, and gzip in small pieces must be what it is as a whole.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ctl/lib/kube_config.h"
#include "ctl/lib/kube_exec.h"
#include "ctl/lib/kube_gunzip.h"

#define MAX_OUT (4u << 20) /* a few bytes can be very many */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_config(const uint8_t *data, size_t size)
{
	struct kube_config *config;
	char path[64], *token;
	int fd = memfd_create("kubeconfig", MFD_CLOEXEC);
	SLUICE_ERR(err);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!kube_config_load(path, &config, &err)) {
		if (strncmp(config->server, "https://", 8) &&
		    strncasecmp(config->server, "https://", 8))
			abort();
		if (!kube_config_token(config, &token, NULL))
			free(token);
		kube_config_free(config);
	} else if (!err.code) {
		abort();
	}
	close(fd);
}

static void read_credential(const uint8_t *data, size_t size)
{
	struct kube_credential credential;

	if (kube_exec_parse((const char *)data, size, "client.authentication.k8s.io/v1",
			    &credential, NULL))
		return;
	if (!kube_credential_is_set(&credential) || !credential.cert.data != !credential.key.data)
		abort();
	kube_credential_clear(&credential);
}

struct out {
	uint64_t hash;
	size_t n;
};

static bool take(void *ctx, const char *data, size_t len)
{
	struct out *out = ctx;

	for (size_t i = 0; i < len && out->n < MAX_OUT; i++, out->n++)
		out->hash = (out->hash ^ (unsigned char)data[i]) * 1099511628211u;
	return out->n < MAX_OUT;
}

static int unpack(const uint8_t *data, size_t size, size_t piece, struct out *out)
{
	struct kube_gunzip *g = kube_gunzip_new();
	int ret = 0;

	*out = (struct out){ 0 };
	for (size_t at = 0; at < size && !ret; at += piece)
		ret = kube_gunzip_feed(g, (const char *)data + at,
				       size - at < piece ? size - at : piece, take, out, NULL);
	kube_gunzip_free(g);
	return ret;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct out whole, pieces;
	int ret;

	if (!size)
		return 0;
	switch (data[0] % 3) {
	case 0:
		read_config(data + 1, size - 1);
		break;
	case 1:
		read_credential(data + 1, size - 1);
		break;
	case 2:
		ret = unpack(data + 1, size - 1, size, &whole);
		/* How much comes before an error may differ. */
		if (ret != unpack(data + 1, size - 1, 1 + data[0] / 3 % 7, &pieces) ||
		    (!ret && memcmp(&whole, &pieces, sizeof(whole))))
			abort();
		break;
	}
	return 0;
}
