// SPDX-License-Identifier: GPL-2.0-only
/*
 * Theory of operation
 * -------------------
 * A call waits in the client's list until the "start" timer takes it to libcurl, which is at once unless
 * an exec plugin has to be asked for credentials first. libcurl says which sockets to watch and when
 * to be woken; curl_multi_socket_action() then does what there is to do, and calls data(). What has ended
 * is told afterwards, outside of libcurl, so that done() may do anything. libcurl's functions may not be
 * called from its own callbacks: a call that is cancelled there is only marked, and let go afterwards.
 */
#include "ctl/lib/kube_client.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/kube_exec.h"
#include "ctl/lib/kube_gunzip.h"
#include "ctl/lib/value.h"

#define CONNECT_MS 10000
/* A peer that is gone is noticed after some 60 s of silence, or 30 s after something was sent to it. */
#define KEEPALIVE_IDLE 30 /* s */
#define KEEPALIVE_INTERVAL 10
#define KEEPALIVE_PROBES 3
#define UNACKNOWLEDGED_MS 30000
/* Credentials of an exec plugin are asked for anew this long before they expire, in s. */
#define EXPIRY_MARGIN 30

struct kube_call {
	struct kube_call *next, **pprev; /* in the client's list */
	struct kube_client *client;
	CURL *easy; /* NULL: not started yet */
	struct curl_slist *headers;
	char *method, *path, *content_type;
	void *body;
	size_t body_len;
	int64_t timeout;
	void (*data)(void *ctx, const char *data, size_t len);
	void (*done)(void *ctx, const struct kube_answer *answer);
	void *ctx;
	bool cancelled;
	char *broken; /* why its body cannot be taken; or NULL */
	struct kube_gunzip *gunzip; /* or NULL: it is not compressed */
	char *refused; /* why it was not even sent; or NULL */
	char problem[CURL_ERROR_SIZE];
	char *answer; /* the body, as far as it is kept */
	size_t answer_len, answer_cap;
};

struct socket {
	struct watch watch;
	struct kube_client *client;
};

struct kube_client {
	struct loop *loop;
	struct kube_config *config;
	CURLM *multi;
	struct kube_call *calls;
	struct timer timer; /* libcurl's */
	struct timer start; /* of the calls that have not been started */
	unsigned int busy; /* libcurl is at work: its functions may not be called */
	bool any_cancelled;
	unsigned long connections;
	char *host; /* of the server's URL, with its port: the header, where tls-server-name says another */
	char *connect_to; /* "NAME:PORT:HOST:PORT", or NULL */
	char *base; /* what paths are put behind */

	struct kube_exec_run *exec_run; /* of the plugin; or NULL */
	struct kube_credential credential; /* what it gave */
};

static void free_call(struct kube_call *call)
{
	*call->pprev = call->next;
	if (call->next)
		call->next->pprev = call->pprev;
	if (call->easy) {
		curl_multi_remove_handle(call->client->multi, call->easy);
		curl_easy_cleanup(call->easy);
	}
	curl_slist_free_all(call->headers);
	free(call->method);
	free(call->path);
	free(call->content_type);
	free(call->body);
	free(call->refused);
	free(call->broken);
	kube_gunzip_free(call->gunzip);
	free(call->answer);
	free(call);
}

void kube_client_cancel(struct kube_call *call)
{
	if (!call->client->busy) {
		free_call(call);
		return;
	}
	call->cancelled = true;
	call->client->any_cancelled = true;
}

/* Takes what a Status object says: {"kind":"Status","reason":"Expired","message":"..."}. */
static void read_status(struct sluice_arena *arena, const struct kube_call *call,
			const char **reason, const char **message)
{
	const char *p = call->answer, *end = p + call->answer_len, *kind;
	struct sluice_value status;
	unsigned int line = 1;

	if (!call->answer_len || sluice_json_read(arena, &p, end, &line, &status, NULL))
		return;
	kind = sluice_value_text(&status, "kind");
	if (!kind || strcmp(kind, "Status"))
		return;
	*reason = sluice_value_text(&status, "reason") ?: "";
	*message = sluice_value_text(&status, "message");
}

static void answer(struct kube_call *call, CURLcode code)
{
	struct kube_answer out = { .reason = "",
				   .body = call->answer ?: "",
				   .len = call->answer_len };
	struct sluice_arena arena = { 0 };
	const char *message = NULL;
	curl_off_t seconds = 0;
	char *text = NULL;
	long status = 0;

	if (call->refused) {
		out.error = call->refused;
	} else {
		curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
		curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &seconds);
		if (seconds > 0)
			out.retry_after = (seconds < 3600 ? seconds : 3600) * 1000;
	}
	if (!out.error && call->broken) {
		out.error = call->broken;
	} else if (!out.error && code) {
		out.error = *call->problem ? call->problem : curl_easy_strerror(code);
	} else if (!out.error) {
		out.status = status;
		if (status < 200 || status > 299) {
			read_status(&arena, call, &out.reason, &message);
			if (asprintf(&text, "HTTP %ld%s%s", status, message ? ": " : "",
				     message ?: "") < 0)
				sluice_alloc_check(NULL);
			out.error = text;
		}
	}
	call->done(call->ctx, &out);
	free(text);
	sluice_arena_clear(&arena);
}

/* Tells whose answers are complete, and lets go of what was cancelled. */
static void finish(struct kube_client *c)
{
	struct kube_call *call, *next;
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(c->multi, &left))) {
		CURLcode code = msg->data.result;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&call);
		curl_multi_remove_handle(c->multi, call->easy);
		/* 401: what the plugin gave may have been revoked; the next request asks it again. */
		if (c->config->exec.command && !code) {
			long status = 0;

			curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
			if (status == 401)
				kube_credential_clear(&c->credential);
		}
		if (!call->cancelled)
			answer(call, code);
		free_call(call);
	}
	if (!c->any_cancelled)
		return;
	c->any_cancelled = false;
	for (call = c->calls; call; call = next) {
		next = call->next;
		if (call->cancelled)
			free_call(call);
	}
}

static void act(struct kube_client *c, curl_socket_t fd, int events)
{
	int running;

	c->busy++;
	curl_multi_socket_action(c->multi, fd, events, &running);
	c->busy--;
	finish(c);
}

static void on_socket(struct watch *watch, uint32_t events)
{
	struct socket *s = container_of(watch, struct socket, watch);

	act(s->client, watch->fd,
	    (events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
		    (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0));
}

static void on_timer(struct timer *timer)
{
	act(container_of(timer, struct kube_client, timer), CURL_SOCKET_TIMEOUT, 0);
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct kube_client *c = arg;
	struct socket *s = known;
	uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) |
			  (what & CURL_POLL_OUT ? EPOLLOUT : 0);

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (s) {
			loop_remove(c->loop, &s->watch);
			curl_multi_assign(c->multi, fd, NULL);
			free(s);
		}
		return 0;
	}
	if (s) {
		loop_change(c->loop, &s->watch, events);
		return 0;
	}
	s = sluice_zalloc(sizeof(*s));
	s->client = c;
	s->watch = (struct watch){ fd, on_socket };
	if (loop_add(c->loop, &s->watch, events, NULL)) {
		free(s);
		return -1;
	}
	curl_multi_assign(c->multi, fd, s);
	return 0;
}

static int want_timer(CURLM *multi, long ms, void *arg)
{
	struct kube_client *c = arg;

	(void)multi;
	if (ms < 0)
		loop_disarm(c->loop, &c->timer);
	else
		loop_arm(c->loop, &c->timer, ms);
	return 0;
}

static bool take_plain(void *ctx, const char *data, size_t len)
{
	struct kube_call *call = ctx;
	long status = 0;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	if (call->data && status >= 200 && status <= 299) {
		call->data(call->ctx, data, len);
		return !call->cancelled;
	}
	if (len > KUBE_ANSWER_MAX - call->answer_len) {
		if (asprintf(&call->broken, "the answer is larger than %u bytes", KUBE_ANSWER_MAX) <
		    0)
			sluice_alloc_check(NULL);
		return false;
	}
	if (call->answer_len + len + 1 > call->answer_cap) {
		call->answer_cap = 2 * (call->answer_len + len) + 1;
		call->answer = sluice_realloc(call->answer, call->answer_cap, 1);
	}
	memcpy(call->answer + call->answer_len, data, len);
	call->answer_len += len;
	call->answer[call->answer_len] = '\0';
	return true;
}

static size_t take_data(char *data, size_t size, size_t n, void *arg)
{
	struct kube_call *call = arg;
	bool good = !call->cancelled;
	SLUICE_ERR(err);

	if (good && call->gunzip)
		good = !kube_gunzip_feed(call->gunzip, data, size * n, take_plain, call, &err);
	else if (good)
		good = take_plain(call, data, size * n);
	if (err.code == EINVAL)
		call->broken = sluice_strdup(sluice_err_msg(&err));
	return good ? size * n : CURL_WRITEFUNC_ERROR;
}

static size_t take_header(char *line, size_t size, size_t n, void *arg)
{
	struct kube_call *call = arg;
	static const char gzip[] = "content-encoding: gzip\r\n";
	long status = 0;

	if (size * n == sizeof(gzip) - 1 && !strncasecmp(line, gzip, size * n) && !call->gunzip)
		call->gunzip = kube_gunzip_new();
	/* The empty line at their end. */
	if (size * n <= 2 && !call->cancelled && call->data) {
		curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
		if (status >= 200 && status <= 299)
			call->data(call->ctx, line, 0);
	}
	return call->cancelled ? 0 : size * n;
}

static int prepare_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	struct kube_client *c = arg;
	unsigned int unacknowledged = UNACKNOWLEDGED_MS;
	int probes = KEEPALIVE_PROBES;

	(void)purpose;
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged, sizeof(unacknowledged));
	c->connections++;
	return CURL_SOCKOPT_OK;
}

/* A name of a file is read at each new connection, so that what was rotated counts. */
static void set_pem(CURL *easy, const struct kube_pem *pem, CURLoption file, CURLoption blob)
{
	struct curl_blob data = { pem->data, pem->len, CURL_BLOB_COPY };

	if (pem->data)
		curl_easy_setopt(easy, blob, &data);
	else if (pem->file)
		curl_easy_setopt(easy, file, pem->file);
}

static void set_tls(struct kube_client *c, CURL *easy)
{
	bool plugin = c->credential.cert.data;

	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	/* libcurl would keep the parsed bundle for a day, whatever becomes of the file. */
	curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
	set_pem(easy, &c->config->ca, CURLOPT_CAINFO, CURLOPT_CAINFO_BLOB);
	/* Ours alone: what the machine trusts besides is not asked. */
	if (c->config->ca.data || c->config->ca.file)
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	set_pem(easy, plugin ? &c->credential.cert : &c->config->cert, CURLOPT_SSLCERT,
		CURLOPT_SSLCERT_BLOB);
	set_pem(easy, plugin ? &c->credential.key : &c->config->key, CURLOPT_SSLKEY,
		CURLOPT_SSLKEY_BLOB);
}

static void add_header(struct kube_call *call, const char *name, const char *value)
{
	char *line;

	if (asprintf(&line, "%s: %s", name, value) < 0)
		sluice_alloc_check(NULL);
	call->headers = sluice_alloc_check(curl_slist_append(call->headers, line));
	explicit_bzero(line, strlen(line));
	free(line);
}

static int add_headers(struct kube_call *call, struct sluice_err *err)
{
	struct kube_client *c = call->client;
	char *token = NULL, *bearer;
	int ret;

	add_header(call, "Accept", "application/json");
	/* Not "Expect: 100-continue", which costs a round trip. */
	call->headers = sluice_alloc_check(curl_slist_append(call->headers, "Expect:"));
	if (!c->config->no_compression)
		add_header(call, "Accept-Encoding", "gzip");
	if (call->content_type)
		add_header(call, "Content-Type", call->content_type);
	if (c->connect_to)
		add_header(call, "Host", c->host);
	if (c->credential.token) {
		token = sluice_strdup(c->credential.token);
	} else {
		ret = kube_config_token(c->config, &token, err);
		if (ret)
			return ret;
	}
	if (!token)
		return 0;
	if (asprintf(&bearer, "Bearer %s", token) < 0)
		sluice_alloc_check(NULL);
	add_header(call, "Authorization", bearer);
	explicit_bzero(bearer, strlen(bearer));
	free(bearer);
	explicit_bzero(token, strlen(token));
	free(token);
	return 0;
}

static int start_call(struct kube_call *call, struct sluice_err *err)
{
	struct kube_client *c = call->client;
	struct curl_slist *connect_to;
	CURL *easy;
	char *url;
	int ret;

	ret = add_headers(call, err);
	if (ret)
		return ret;
	call->easy = easy = sluice_alloc_check(curl_easy_init());
	if (asprintf(&url, "%s%s", c->base, call->path) < 0)
		sluice_alloc_check(NULL);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	free(url);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->problem);
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "sluice");
	if (call->body) {
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_len);
	}
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_data);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
	/* HTTP/2 where the server takes it. */
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)call->timeout);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_IDLE);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_INTERVAL);
	curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, prepare_socket);
	curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, c);
	/* A proxy of the environment is for others: an agent of the node speaks to what its file says. */
	curl_easy_setopt(easy, CURLOPT_PROXY, c->config->proxy ?: "");
	if (c->connect_to) {
		connect_to = sluice_alloc_check(curl_slist_append(NULL, c->connect_to));
		curl_easy_setopt(easy, CURLOPT_CONNECT_TO, connect_to);
		/* libcurl wants it to live as long as the handle: with the headers. */
		connect_to->next = call->headers;
		call->headers = connect_to;
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, connect_to->next);
	}
	set_tls(c, easy);
	curl_multi_add_handle(c->multi, easy);
	return 0;
}

/* Answers those that have a reason why not; done() may make and cancel calls, so each look starts anew. */
static void answer_refused(struct kube_client *c)
{
	struct kube_call *call = c->calls;

	while (call) {
		if (!call->refused) {
			call = call->next;
			continue;
		}
		answer(call, CURLE_OK);
		free_call(call);
		call = c->calls;
	}
}

static void on_credential(void *ctx, struct kube_credential *credential,
			  const struct sluice_err *err)
{
	struct kube_client *c = ctx;
	struct kube_call *call;

	c->exec_run = NULL;
	kube_credential_clear(&c->credential);
	if (!err) {
		c->credential = *credential;
		loop_arm(c->loop, &c->start, 0);
		return;
	}
	for (call = c->calls; call; call = call->next)
		if (!call->easy)
			call->refused = sluice_strdup(sluice_err_msg(err));
	answer_refused(c);
}

/* Is there a credential, or none needed? Otherwise the plugin runs, or has been started. */
static bool has_credential(struct kube_client *c)
{
	if (!c->config->exec.command)
		return true;
	if (kube_credential_is_set(&c->credential) &&
	    (!c->credential.expires || time(NULL) + EXPIRY_MARGIN < c->credential.expires))
		return true;
	if (!c->exec_run)
		c->exec_run = kube_exec_start(c->loop, c->config, on_credential, c);
	return false;
}

static void start(struct timer *timer)
{
	struct kube_client *c = container_of(timer, struct kube_client, start);
	struct kube_call *call;

	if (!c->calls || !has_credential(c))
		return;
	for (call = c->calls; call; call = call->next) {
		SLUICE_ERR(err);

		if (!call->easy && start_call(call, &err))
			call->refused = sluice_strdup(sluice_err_msg(&err));
	}
	answer_refused(c);
}

struct kube_call *kube_client_request(struct kube_client *c, const struct kube_request *request)
{
	struct kube_call *call = sluice_zalloc(sizeof(*call));

	call->client = c;
	call->method = sluice_strdup(request->method ?: "GET");
	call->path = sluice_strdup(request->path);
	call->content_type = request->content_type ? sluice_strdup(request->content_type) : NULL;
	if (request->body) {
		call->body = sluice_memdup(request->body, request->body_len);
		call->body_len = request->body_len;
	}
	call->timeout = request->timeout ?: KUBE_TIMEOUT_MS;
	call->data = request->data;
	call->done = request->done;
	call->ctx = request->ctx;
	call->next = c->calls;
	call->pprev = &c->calls;
	if (c->calls)
		c->calls->pprev = &call->next;
	c->calls = call;
	if (!c->exec_run)
		loop_arm(c->loop, &c->start, 0);
	return call;
}

/*
 * What a certificate's name is compared with is the URL's host, so with tls-server-name the URL says that
 * name, and CONNECT_TO leads to the server.
 */
static int set_base(struct kube_client *c, struct sluice_err *err)
{
	char *host = NULL, *port = NULL, *path = NULL;
	CURLU *url = sluice_alloc_check(curl_url());
	int ret = 0;

	if (curl_url_set(url, CURLUPART_URL, c->config->server, 0) ||
	    curl_url_get(url, CURLUPART_HOST, &host, 0) ||
	    curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) ||
	    curl_url_get(url, CURLUPART_PATH, &path, 0)) {
		ret = sluice_err_set(err, EINVAL, "server: \"%.200s\" is not a URL",
				     c->config->server);
	} else if (c->config->tls_server_name) {
		if (asprintf(&c->host, "%s:%s", host, port) < 0 ||
		    asprintf(&c->connect_to, "%s:%s:%s:%s", c->config->tls_server_name, port, host,
			     port) < 0 ||
		    asprintf(&c->base, "https://%s:%s%s", c->config->tls_server_name, port,
			     strcmp(path, "/") ? path : "") < 0)
			sluice_alloc_check(NULL);
	} else {
		c->base = sluice_strdup(c->config->server);
	}
	curl_free(host);
	curl_free(port);
	curl_free(path);
	curl_url_cleanup(url);
	return ret;
}

int kube_client_new(struct loop *loop, struct kube_config *config, struct kube_client **out,
		    struct sluice_err *err)
{
	static bool initialised;
	struct kube_client *c = sluice_zalloc(sizeof(*c));
	int ret;

	c->loop = loop;
	c->config = config;
	c->timer.expired = on_timer;
	c->start.expired = start;
	if (!initialised && curl_global_init(CURL_GLOBAL_DEFAULT)) {
		ret = sluice_err_set(err, EIO, "libcurl cannot be initialised");
		goto free;
	}
	initialised = true;
	ret = set_base(c, err);
	if (ret)
		goto free;
	c->multi = sluice_alloc_check(curl_multi_init());
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	/*
	 * HTTP/2, but one request at a time on each connection. With all six lists on one, libcurl 7.88 let 4 of 40
	 * starts in a cluster of 16,000 pods stand still until they were given up, 30 s later; without, none of 19.
	 */
	curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	*out = c;
	return 0;

free:
	kube_client_free(c);
	return ret;
}

void kube_client_free(struct kube_client *c)
{
	if (!c)
		return;
	while (c->calls)
		free_call(c->calls);
	if (c->exec_run)
		kube_exec_cancel(c->exec_run);
	if (c->multi)
		curl_multi_cleanup(c->multi);
	loop_disarm(c->loop, &c->timer);
	loop_disarm(c->loop, &c->start);
	kube_credential_clear(&c->credential);
	kube_config_free(c->config);
	free(c->host);
	free(c->connect_to);
	free(c->base);
	free(c);
}

const char *kube_client_server(const struct kube_client *c)
{
	return c->config->server;
}

unsigned long kube_client_connections(const struct kube_client *c)
{
	return c->connections;
}

char *kube_escape(const char *text)
{
	char *out = sluice_zalloc(3 * strlen(text) + 1), *p = out;

	for (; *text; text++) {
		unsigned char b = *text;

		if ((b >= '0' && b <= '9') || ((b | 32) >= 'a' && (b | 32) <= 'z') ||
		    strchr("-._~", b))
			*p++ = b;
		else
			p += sprintf(p, "%%%02X", b);
	}
	return out;
}
