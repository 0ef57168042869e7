/* tls.h -- OpenSSL on our own non-blocking sockets: verified clients with SNI and session
 * resumption, and a server.
 *
 * A struct tls is one connection's, for one thread at a time; a struct tls_client / tls_server
 * is shared by all connections and threads, and must outlive them. OpenSSL writes with write(2):
 * the program must ignore SIGPIPE (weir does, at its start). */
#pragma once

#include <sys/uio.h>

#include "base/err.h"

/* Settings for connecting: CA store, sessions. Immutable but for its sessions (locked inside). */
struct tls_client;
struct tls_server;
struct tls;

struct tls_client_options {
    const char *ca_file; /* NULL: the system's store (SSL_CERT_FILE, SSL_CERT_DIR are honoured) */
    bool insecure;       /* ssl_verify: false; warned about by the caller */
};
/* NULL with a sentence in `e`. [any thread] */
struct tls_client *tls_client_new(const struct tls_client_options *o, struct err *e);
void tls_client_free(struct tls_client *c);
/* NULL with a sentence (unreadable file, key that does not fit the certificate, ...). */
struct tls_server *tls_server_new(const char *cert_file, const char *key_file, struct err *e);
void tls_server_free(struct tls_server *s);

/* Host name (SNI sent, certificate checked against it) or an IP literal (checked against the
 * certificate's IPs). ALPN: http/1.1. Never NULL: what goes wrong is told by tls_handshake. */
struct tls *tls_connect(struct tls_client *c, int fd, struct str host);
struct tls *tls_accept(struct tls_server *s, int fd);
/* Sends close_notify if that works at once; never blocks; does not close fd. NULL is fine. */
void tls_free(struct tls *t);

/* Call on readiness until IO_OK. IO_FAIL: tls_error says why. */
enum io tls_handshake(struct tls *t);
/* Call until IO_AGAIN: a short read does not mean that nothing is left. IO_EOF: the peer ended
 * the stream (close_notify); a connection that just breaks off is IO_FAIL, so that a truncated
 * answer is never taken for a whole one. */
enum io tls_read(struct tls *t, char *p, size_t n, size_t *got);
/* IO_OK with *put < n: the socket is full. The next write must begin with the bytes that were
 * not taken, and bring no fewer of them: OpenSSL may have a record made of them under way. */
enum io tls_write(struct tls *t, const char *p, size_t n, size_t *put);
/* Bytes taken from the socket but not yet read (perhaps not a whole record yet): it need not
 * become readable for them. */
bool tls_pending(const struct tls *t);
/* The server agreed to resume an earlier session (no certificates were sent). */
bool tls_resumed(const struct tls *t);
/* Reads of the socket ask for the kernel's receive times (net/stamp.h), which the socket must have been told to give. Before the handshake. */
void tls_stamp(struct tls *t);
/* When the ciphertext of what was read last had arrived, CLOCK_MONOTONIC; 0: not known. Of several records that came with one read: that of
 * their last byte. */
uint64_t tls_arrived_ns(const struct tls *t);
/* "TLSv1.3", "TLS_AES_256_GCM_SHA384": of an established connection; static text. */
const char *tls_version(const struct tls *t);
const char *tls_cipher(const struct tls *t);
/* Why the last call failed, e.g. "the certificate has expired (example.com)"; "" if it did not.
 * Valid until tls_free. */
const char *tls_error(const struct tls *t);
