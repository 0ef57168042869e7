/* tls.c -- OpenSSL 3 behind five calls that speak enum io.
 *
 * net/stream.c is the only user of connections; gateway/gateway.c makes one tls_client for
 * verified upstreams, one for those with `ssl_verify: false`, and one tls_server when weir
 * listens with TLS.
 *
 * A connection (struct tls) is an SSL on the caller's own descriptor: readiness comes from the
 * caller's epoll, and every call returns at once. The shared halves hold an SSL_CTX, which
 * OpenSSL lets any thread use once it is set up. The one thing of ours in there that changes is
 * the client's session cache, under its mutex, taken once a handshake and once a ticket.
 *
 * Resumption: OpenSSL's own client cache is keyed by session id, which does not help a client to
 * find a session for a host, so it is off and the new-session callback fills ours. A TLS 1.3
 * ticket is used once (RFC 8446 appendix C.4: reuse lets an onlooker link connections), hence
 * several per host. A resumed session skips the certificate, so sessions are forgotten after an
 * hour: a certificate that is no longer good is noticed within that time.
 *
 * Memory: SSL_MODE_RELEASE_BUFFERS gives both 16 KiB record buffers back while they are empty,
 * which is most of an idle connection. Reading ahead takes a record's header and body, or
 * several short records, with one read(2).
 *
 * The system's certificates, all in one file, take OpenSSL 3.0 60 to 100 ms to read, longer than
 * weir's whole start. So a thread of their own reads them, and only a connection that is wanted
 * before it is done waits for it.
 *
 * Errors: OpenSSL's own texts ("certificate verify failed") do not say what to do. The causes
 * people meet have a sentence in a table below; for the others OpenSSL's reason is passed on.
 * All carry the host's name. */
#include "net/tls.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "net/sock.h"
#include "net/stamp.h"

enum {
    HOST_BYTES = 256,   /* a DNS name is at most 253 long */
    SESSION_HOSTS = 32, /* in the cache, the longest unused one makes room */
    SESSIONS_PER_HOST = 4,
    SESSION_AGE_MAX_S = 3600,
    ERROR_BYTES = 256,
};

static const unsigned char ALPN_HTTP11[] = "\x08http/1.1";

struct session_slot {
    char host[HOST_BYTES];
    SSL_SESSION *sessions[SESSIONS_PER_HOST]; /* oldest first */
    int count;
    uint64_t used; /* tick of the last use */
};

struct tls_client {
    SSL_CTX *ctx;
    pthread_mutex_t lock; /* of what follows */
    bool loading;         /* `loader` was started and not yet waited for */
    pthread_t loader;
    uint64_t tick;
    struct session_slot slots[SESSION_HOSTS];
};

struct tls_server {
    SSL_CTX *ctx;
};

struct tls {
    SSL *ssl;
    struct tls_client *client; /* NULL: we are the server */
    int fd;
    bool established; /* the handshake is done */
    bool broken;      /* no more calls into OpenSSL: its state is undefined after a fatal error */
    uint64_t arrived_ns; /* of the last bytes read off a stamped socket */
    char *error;         /* allocated when something failed, else NULL */
    char host[];         /* whom we called; "" for a server */
};

/* ---- errors ---- */

static enum io fail(struct tls *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
static enum io fail(struct tls *t, const char *fmt, ...)
{
    char text[ERROR_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    t->broken = true;
    if (!t->error)
        t->error = mem_alloc(ERROR_BYTES);
    snprintf(t->error, ERROR_BYTES, t->host[0] ? "%s (%.*s)" : "%s", text, HOST_BYTES, t->host);
    return IO_FAIL;
}

#define UNKNOWN_AUTHORITY                                                                          \
    "the certificate comes from an unknown authority; to trust that, name its certificate in "     \
    "ca_file"

/* What X.509 verification complains about, in words. */
static const char *verify_sentence(long code)
{
    // clang-format off
    static const struct {
        long code;
        const char *sentence;
    } causes[] = {
        {X509_V_ERR_CERT_HAS_EXPIRED, "the certificate has expired"},
        {X509_V_ERR_CERT_NOT_YET_VALID,
         "the certificate is not valid yet; is this machine's clock right?"},
        {X509_V_ERR_HOSTNAME_MISMATCH, "the certificate is for another host name"},
        {X509_V_ERR_IP_ADDRESS_MISMATCH, "the certificate does not name this IP address"},
        {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
         "the certificate is self-signed; to trust it, name it in ca_file"},
        {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, UNKNOWN_AUTHORITY},
        {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, UNKNOWN_AUTHORITY},
        {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, UNKNOWN_AUTHORITY},
        {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
         "the server did not send its whole certificate chain, or its authority is unknown"},
        {X509_V_ERR_CERT_REVOKED, "the certificate was revoked"},
        {X509_V_ERR_INVALID_PURPOSE, "the certificate is not meant for a server"},
    };
    // clang-format on
    for (size_t i = 0; i < COUNT(causes); i++) {
        if (causes[i].code == code)
            return causes[i].sentence;
    }
    return X509_verify_cert_error_string(code);
}

/* SSL_ERROR_SSL: the protocol failed, or the peer refused us. */
static enum io fail_protocol(struct tls *t)
{
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_reason_error_string(code);
    long verify = SSL_get_verify_result(t->ssl);
    switch (ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED: return fail(t, "%s", verify_sentence(verify));
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return fail(t, t->established ? "the connection was closed without close_notify"
                                      : "the peer closed the connection during the TLS handshake");
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
        return fail(t, "the peer does not speak TLS; is it meant to be http://?");
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_UNSUPPORTED_PROTOCOL: return fail(t, "the peer does not speak TLS 1.2 or later");
    default: return fail(t, "TLS failed: %s", reason ? reason : "unknown reason");
    }
}

/* The outcome of an SSL call that returned `ret` <= 0. */
static enum io outcome(struct tls *t, int ret)
{
    int saved = errno;
    switch (SSL_get_error(t->ssl, ret)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return IO_AGAIN;
    case SSL_ERROR_ZERO_RETURN: return IO_EOF;
    case SSL_ERROR_SSL: return fail_protocol(t);
    default: return fail(t, "%s", saved ? strerror(saved) : "the connection was closed");
    }
}

/* The oldest entry of OpenSSL's error queue for a person, and the queue emptied. */
static const char *openssl_reason(void)
{
    unsigned long code = ERR_peek_error();
    const char *reason =
        ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);
    ERR_clear_error();
    return reason ? reason : "unknown reason";
}

/* ---- the client's sessions ---- */

static struct session_slot *find_slot(struct tls_client *c, const char *host)
{
    for (size_t i = 0; i < SESSION_HOSTS; i++) {
        if (c->slots[i].used && strcmp(c->slots[i].host, host) == 0)
            return &c->slots[i];
    }
    return NULL;
}

static void drop_oldest(struct session_slot *s)
{
    SSL_SESSION_free(s->sessions[0]);
    memmove(s->sessions, s->sessions + 1, (size_t)--s->count * sizeof s->sessions[0]);
}

static struct session_slot *make_slot(struct tls_client *c, const char *host)
{
    struct session_slot *s = &c->slots[0];
    for (size_t i = 1; i < SESSION_HOSTS; i++) {
        if (c->slots[i].used < s->used)
            s = &c->slots[i];
    }
    while (s->count > 0)
        drop_oldest(s);
    snprintf(s->host, sizeof s->host, "%s", host);
    return s;
}

/* OpenSSL's callback: the server gave us a session. 1: we keep the reference. */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls *t = SSL_get_app_data(ssl);
    struct tls_client *c = t->client;
    pthread_mutex_lock(&c->lock);
    struct session_slot *s = find_slot(c, t->host);
    if (!s)
        s = make_slot(c, t->host);
    if (s->count == SESSIONS_PER_HOST)
        drop_oldest(s);
    s->sessions[s->count++] = session;
    s->used = ++c->tick;
    pthread_mutex_unlock(&c->lock);
    return 1;
}

/* The youngest session for the host, or NULL. The caller frees it. */
static SSL_SESSION *take_session(struct tls_client *c, const char *host)
{
    SSL_SESSION *session = NULL;
    long oldest = (long)time(NULL) - SESSION_AGE_MAX_S;
    pthread_mutex_lock(&c->lock);
    struct session_slot *s = find_slot(c, host);
    while (s && s->count > 0 && SSL_SESSION_get_time(s->sessions[0]) < oldest)
        drop_oldest(s);
    if (s && s->count > 0) {
        session = s->sessions[--s->count];
        s->used = ++c->tick;
        if (SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION) {
            SSL_SESSION_up_ref(
                session); /* TLS 1.2: good for many uses, and no new one comes after it */
            s->count++;
        }
    }
    pthread_mutex_unlock(&c->lock);
    return session;
}

/* ---- setting up ---- */

static SSL_CTX *make_context(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    ENSURE(ctx);
    ENSURE(SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_read_ahead(ctx, 1);
    return ctx;
}

static void *load_system_store(void *client)
{
    struct tls_client *c = client;
    SSL_CTX_set_default_verify_paths(c->ctx); /* a store that is missing is an empty one */
    ERR_clear_error();
    return NULL;
}

/* Signals are for the threads that expect them. */
static void start_loading(struct tls_client *c)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    c->loading = pthread_create(&c->loader, NULL, load_system_store, c) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!c->loading)
        load_system_store(c);
}

static void finish_loading(struct tls_client *c)
{
    pthread_mutex_lock(&c->lock);
    if (c->loading)
        pthread_join(c->loader, NULL);
    c->loading = false;
    pthread_mutex_unlock(&c->lock);
}

struct tls_client *tls_client_new(const struct tls_client_options *o, struct err *e)
{
    ERR_clear_error();
    struct tls_client *c = mem_alloc(sizeof *c);
    pthread_mutex_init(&c->lock, NULL);
    c->ctx = make_context(TLS_client_method());
    SSL_CTX_set_verify(c->ctx, o->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(c->ctx, keep_session);
    ENSURE(SSL_CTX_set_alpn_protos(c->ctx, ALPN_HTTP11, sizeof ALPN_HTTP11 - 1) == 0);
    if (o->insecure)
        return c;
    if (!o->ca_file) {
        start_loading(c);
        return c;
    }
    if (SSL_CTX_load_verify_file(c->ctx, o->ca_file) == 1)
        return c;
    err_set(e, "cannot read the certificate authorities from %s: %s; expected a PEM file",
            o->ca_file, openssl_reason());
    tls_client_free(c);
    return NULL;
}

void tls_client_free(struct tls_client *c)
{
    if (!c)
        return;
    finish_loading(c);
    for (size_t i = 0; i < SESSION_HOSTS; i++) {
        while (c->slots[i].count > 0)
            drop_oldest(&c->slots[i]);
    }
    SSL_CTX_free(c->ctx);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

/* RFC 7301 section 3.2: a client that offers protocols, but none of ours, is told so. */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *offered, unsigned offered_len, void *arg)
{
    unsigned char *chosen;
    (void)ssl, (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, ALPN_HTTP11, sizeof ALPN_HTTP11 - 1, offered,
                              offered_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* Without this OpenSSL would ask for the passphrase on the terminal, and wait. */
static int no_passphrase(char *out, int out_bytes, int writing, void *asked)
{
    (void)out, (void)out_bytes, (void)writing;
    *(bool *)asked = true;
    return -1;
}

static bool load_pair(SSL_CTX *ctx, const char *cert_file, const char *key_file, struct err *e)
{
    bool encrypted = false;
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, &encrypted);
    bool cert = SSL_CTX_use_certificate_chain_file(ctx, cert_file) == 1;
    bool key = cert && SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) == 1;
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
    SSL_CTX_set_default_passwd_cb(ctx, NULL);
    if (!cert)
        return err_set(e,
                       "cannot read the TLS certificate from %s: %s; expected a PEM file, the "
                       "server's own certificate first",
                       cert_file, openssl_reason());
    if (encrypted)
        return err_set(e, "the TLS key in %s is encrypted; expected a key without a passphrase",
                       key_file);
    if (!key && ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_VALUES_MISMATCH)
        return err_set(e, "the TLS key in %s does not belong to the certificate in %s", key_file,
                       cert_file);
    if (!key)
        return err_set(e, "cannot read the TLS key from %s: %s; expected a PEM file", key_file,
                       openssl_reason());
    return true;
}

struct tls_server *tls_server_new(const char *cert_file, const char *key_file, struct err *e)
{
    ERR_clear_error();
    struct tls_server *s = mem_alloc(sizeof *s);
    s->ctx = make_context(TLS_server_method());
    SSL_CTX_set_session_cache_mode(s->ctx, SSL_SESS_CACHE_OFF); /* tickets hold the state, not we */
    SSL_CTX_set_alpn_select_cb(s->ctx, choose_alpn, NULL);
    bool loaded = load_pair(s->ctx, cert_file, key_file, e);
    ERR_clear_error();
    if (loaded)
        return s;
    tls_server_free(s);
    return NULL;
}

void tls_server_free(struct tls_server *s)
{
    if (!s)
        return;
    SSL_CTX_free(s->ctx);
    mem_free(s);
}

/* ---- connections ---- */

static struct tls *make_connection(SSL_CTX *ctx, int fd, struct str host)
{
    struct tls *t = mem_alloc(sizeof *t + host.n + 1);
    if (host.n > 0)
        memcpy(t->host, host.p, host.n);
    t->fd = fd;
    t->ssl = SSL_new(ctx);
    ENSURE(t->ssl && SSL_set_fd(t->ssl, fd) == 1);
    SSL_set_app_data(t->ssl, t);
    return t;
}

/* Says whom we call and whom the certificate must name. RFC 6066 section 3: no SNI for
 * addresses. */
static bool set_peer(SSL *ssl, const char *host)
{
    struct sock_addr ip;
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (sock_addr_parse(str_from(host), 0, &ip))
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 &&
           SSL_set_tlsext_host_name(ssl, host) == 1;
}

struct tls *tls_connect(struct tls_client *c, int fd, struct str host)
{
    finish_loading(c);
    ERR_clear_error();
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = (struct str){host.p + 1, host.n - 2};
    if (host.n > 1 && host.p[host.n - 1] == '.')
        host.n--; /* the root's dot is DNS's, not TLS's */
    bool valid = host.n > 0 && host.n < HOST_BYTES && !memchr(host.p, 0, host.n);
    struct tls *t = make_connection(c->ctx, fd, valid ? host : STR("?"));
    t->client = c;
    SSL_set_connect_state(t->ssl);
    if (!valid || !set_peer(t->ssl, t->host)) {
        fail(t, "this is not a host name that a certificate could be checked against");
        return t;
    }
    SSL_SESSION *session = take_session(c, t->host);
    if (session) {
        SSL_set_session(t->ssl, session);
        SSL_SESSION_free(session);
    }
    return t;
}

struct tls *tls_accept(struct tls_server *s, int fd)
{
    ERR_clear_error();
    struct tls *t = make_connection(s->ctx, fd, STR_NONE);
    SSL_set_accept_state(t->ssl);
    return t;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    if (!t->broken && t->established) {
        ERR_clear_error();
        SSL_shutdown(t->ssl);
    }
    ERR_clear_error();
    SSL_free(t->ssl);
    mem_free(t->error);
    mem_free(t);
}

enum io tls_handshake(struct tls *t)
{
    if (t->broken)
        return IO_FAIL;
    ERR_clear_error();
    errno = 0;
    int ret = SSL_do_handshake(t->ssl);
    if (ret == 1) {
        t->established = true;
        return IO_OK;
    }
    enum io io = outcome(t, ret);
    return io == IO_EOF ? fail(t, "the peer closed the connection during the TLS handshake") : io;
}

enum io tls_read(struct tls *t, char *p, size_t n, size_t *got)
{
    *got = 0;
    if (t->broken)
        return IO_FAIL;
    ERR_clear_error();
    errno = 0;
    int ret = SSL_read_ex(t->ssl, p, n, got);
    return ret == 1 ? IO_OK : outcome(t, ret);
}

enum io tls_write(struct tls *t, const char *p, size_t n, size_t *put)
{
    *put = 0;
    if (t->broken)
        return IO_FAIL;
    ERR_clear_error();
    while (
        *put <
        n) { /* a record a turn: given more, OpenSSL would not tell of the records that went out */
        size_t wrote = 0;
        errno = 0;
        int ret =
            SSL_write_ex(t->ssl, p + *put, MIN(n - *put, (size_t)SSL3_RT_MAX_PLAIN_LENGTH), &wrote);
        *put += wrote;
        if (ret == 1)
            continue;
        enum io io = outcome(t, ret);
        return io == IO_AGAIN && *put > 0 ? IO_OK : io;
    }
    return IO_OK;
}

/* ---- a socket that tells when its bytes arrived, as a BIO ---- */

static int stamped_read(BIO *bio, char *p, int n)
{
    struct tls *t = BIO_get_data(bio);
    uint64_t arrived_ns, read_ns;
    ssize_t got = stamp_recv(t->fd, p, (size_t)n, &arrived_ns, &read_ns);
    BIO_clear_retry_flags(bio);
    if (got > 0)
        t->arrived_ns = arrived_ns;
    else if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        BIO_set_retry_read(bio);
    return (int)got;
}

static int stamped_write(BIO *bio, const char *p, int n)
{
    struct tls *t = BIO_get_data(bio);
    ssize_t put = send(t->fd, p, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    BIO_clear_retry_flags(bio);
    if (put < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        BIO_set_retry_write(bio);
    return (int)put;
}

static long stamped_ctrl(BIO *bio, int command, long number, void *p)
{
    (void)bio, (void)number, (void)p;
    return command == BIO_CTRL_FLUSH; /* nothing is buffered here */
}

static BIO_METHOD *stamped_method;

static void make_stamped_method(void)
{
    stamped_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stamped socket");
    ENSURE(stamped_method && BIO_meth_set_read(stamped_method, stamped_read) == 1 &&
           BIO_meth_set_write(stamped_method, stamped_write) == 1 &&
           BIO_meth_set_ctrl(stamped_method, stamped_ctrl) == 1);
}

void tls_stamp(struct tls *t)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_stamped_method);
    BIO *bio = BIO_new(stamped_method);
    ENSURE(bio);
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
}

uint64_t tls_arrived_ns(const struct tls *t)
{
    return t->arrived_ns;
}

const char *tls_version(const struct tls *t)
{
    return SSL_get_version(t->ssl);
}

const char *tls_cipher(const struct tls *t)
{
    return SSL_get_cipher_name(t->ssl);
}

bool tls_pending(const struct tls *t)
{
    return !t->broken && SSL_has_pending(t->ssl) == 1;
}

bool tls_resumed(const struct tls *t)
{
    return SSL_session_reused(t->ssl) == 1;
}

const char *tls_error(const struct tls *t)
{
    return t->error ? t->error : "";
}
