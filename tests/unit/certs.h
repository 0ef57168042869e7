/* certs.h -- certificates made at test time: an authority and what it signs, as PEM files in a
 * temporary folder. */
#pragma once

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

struct cert {
    X509 *x509;
    EVP_PKEY *key;
};

struct cert_wish {
    const char *name;          /* common name; also names the files */
    const char *san;           /* "DNS:a.test,IP:127.0.0.1", or NULL */
    const struct cert *issuer; /* NULL: signs itself */
    bool is_ca;
    long from_s, to_s; /* validity, relative to now; both 0: an hour around now */
};

static char certs_folder[] = "/tmp/weir-certs-XXXXXX";

static inline void certs_begin(void)
{
    memcpy(certs_folder + sizeof certs_folder - 7, "XXXXXX", 6); /* also for the second time */
    ENSURE(mkdtemp(certs_folder));
}

static inline const char *cert_path(const char *name, const char *ending)
{
    static char paths[8][128];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s.%s", certs_folder, name, ending);
    return path;
}

static inline void cert_extend(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ENSURE(extension && X509_add_ext(x, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static inline struct cert cert_make(const struct cert_wish *w)
{
    static long serial = 1;
    struct cert c = {X509_new(), EVP_EC_gen("P-256")};
    const struct cert *issuer = w->issuer ? w->issuer : &c;
    bool given = w->from_s || w->to_s;
    ENSURE(c.x509 && c.key);
    X509_set_version(c.x509, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(c.x509), serial++);
    X509_gmtime_adj(X509_getm_notBefore(c.x509), given ? w->from_s : -3600);
    X509_gmtime_adj(X509_getm_notAfter(c.x509), given ? w->to_s : 3600);
    X509_set_pubkey(c.x509, c.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(c.x509), "CN", MBSTRING_ASC,
                               (const unsigned char *)w->name, -1, -1, 0);
    X509_set_issuer_name(c.x509, X509_get_subject_name(issuer->x509));
    cert_extend(c.x509, issuer->x509, NID_basic_constraints,
                w->is_ca ? "critical,CA:TRUE" : "CA:FALSE");
    if (w->san)
        cert_extend(c.x509, issuer->x509, NID_subject_alt_name, w->san);
    ENSURE(X509_sign(c.x509, issuer->key, EVP_sha256()) > 0);
    return c;
}

/* Writes NAME.pem and NAME.key; the key encrypted when there is a passphrase. */
static inline void cert_write(const struct cert *c, const char *name, const char *passphrase)
{
    FILE *f = fopen(cert_path(name, "pem"), "w");
    ENSURE(f && PEM_write_X509(f, c->x509) == 1 && fclose(f) == 0);
    f = fopen(cert_path(name, "key"), "w");
    ENSURE(f && PEM_write_PrivateKey(f, c->key, passphrase ? EVP_aes_128_cbc() : NULL, NULL, 0,
                                     NULL, (void *)(uintptr_t)passphrase) == 1);
    ENSURE(fclose(f) == 0);
}

static inline void cert_fini(struct cert *c)
{
    X509_free(c->x509);
    EVP_PKEY_free(c->key);
}

/* Makes, writes and forgets a certificate. */
static inline void cert_put(const struct cert_wish *w)
{
    struct cert c = cert_make(w);
    cert_write(&c, w->name, NULL);
    cert_fini(&c);
}

static inline void certs_end(const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unlink(cert_path(names[i], "pem"));
        unlink(cert_path(names[i], "key"));
    }
    rmdir(certs_folder);
}
