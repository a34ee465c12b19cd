
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <faas.h>

#include "redis_tls.h"


#define REDIS_TLS_CHUNK  16384

#define REDIS_TLS_LIBRARY  "libssl.so.3"

_Static_assert(OPENSSL_VERSION_MAJOR == 3, "that library's headers");


/* each function of OpenSSL that is used; libssl brings libcrypto, and what is
   looked up in the one is found in the other */

#define REDIS_TLS_FUNCTIONS(X)                                                \
    X(OPENSSL_init_ssl)                                                       \
    X(TLS_client_method)                                                      \
    X(SSL_CTX_new)                                                            \
    X(SSL_CTX_free)                                                           \
    X(SSL_CTX_ctrl)                                                           \
    X(SSL_CTX_set_verify)                                                     \
    X(SSL_CTX_set_default_verify_paths)                                       \
    X(SSL_CTX_load_verify_file)                                               \
    X(SSL_CTX_use_certificate_chain_file)                                     \
    X(SSL_CTX_use_PrivateKey_file)                                            \
    X(SSL_CTX_check_private_key)                                              \
    X(SSL_new)                                                                \
    X(SSL_free)                                                               \
    X(SSL_ctrl)                                                               \
    X(SSL_set_bio)                                                            \
    X(SSL_set_connect_state)                                                  \
    X(SSL_do_handshake)                                                       \
    X(SSL_read)                                                               \
    X(SSL_write)                                                              \
    X(SSL_get_error)                                                          \
    X(SSL_get0_param)                                                         \
    X(SSL_get_verify_result)                                                  \
    X(BIO_new)                                                                \
    X(BIO_free)                                                               \
    X(BIO_s_mem)                                                              \
    X(BIO_read)                                                               \
    X(BIO_write)                                                              \
    X(BIO_ctrl)                                                               \
    X(BIO_ctrl_pending)                                                       \
    X(ERR_get_error)                                                          \
    X(ERR_clear_error)                                                        \
    X(ERR_reason_error_string)                                                \
    X(X509_VERIFY_PARAM_set1_host)                                            \
    X(X509_VERIFY_PARAM_set1_ip_asc)                                          \
    X(X509_verify_cert_error_string)

#define REDIS_TLS_FIELD(name)   __typeof__(&name)  p_##name;
#define REDIS_TLS_LOOKUP(name)                                                \
    *(void **) &ossl.p_##name = dlsym(library, #name);                        \
    if (ossl.p_##name == NULL) {                                              \
        missing = #name;                                                      \
    }


/* written once, by the first redis_trust_create() of the process */

static struct {
    int                       loaded;
    REDIS_TLS_FUNCTIONS(REDIS_TLS_FIELD)
} ossl;


struct redis_trust_s {
    SSL_CTX                  *ctx;
    redis_verify_e            verify;
};


struct redis_tls_s {
    int                       fd;
    int                       verify;
    SSL                      *ssl;
    BIO                      *in;          /* the SSL's: from the socket */
    BIO                      *out;         /* to it */

    /* taken from `out`, and not yet with the socket */
    size_t                    pos;
    size_t                    len;
    char                      buf[REDIS_TLS_CHUNK + 1024];
};


static int redis_tls_load(char *why, size_t size);
static int redis_trust_files(redis_trust_t *trust, const redis_url_t *url,
    char *why, size_t size);
static int redis_tls_expect(redis_tls_t *tls, redis_verify_e verify,
    const char *host);
static int redis_tls_fill(redis_tls_t *tls);
static void redis_tls_say(char *why, size_t size, const char *what);


/* -- certificates ---------------------------------------------------------- */

redis_trust_t *
redis_trust_create(const redis_url_t *url, char *why, size_t size)
{
    redis_trust_t  *trust;

    if (redis_tls_load(why, size) != FAAS_OK) {
        return NULL;
    }

    trust = calloc(1, sizeof(redis_trust_t));
    if (trust == NULL) {
        (void) snprintf(why, size, "TLS: out of memory");
        return NULL;
    }

    ossl.p_ERR_clear_error();
    trust->verify = url->verify;
    trust->ctx = ossl.p_SSL_CTX_new(ossl.p_TLS_client_method());

    if (trust->ctx == NULL
        || ossl.p_SSL_CTX_ctrl(trust->ctx, SSL_CTRL_SET_MIN_PROTO_VERSION,
                               TLS1_2_VERSION, NULL)
           != 1)
    {
        redis_tls_say(why, size, "TLS cannot be set up");
        goto failed;
    }

    ossl.p_SSL_CTX_set_verify(trust->ctx,
                              url->verify == REDIS_VERIFY_NO ? SSL_VERIFY_NONE
                                                             : SSL_VERIFY_PEER,
                              NULL);

    if (redis_trust_files(trust, url, why, size) != FAAS_OK) {
        goto failed;
    }

    return trust;

failed:

    redis_trust_destroy(trust);

    return NULL;
}


static int
redis_trust_files(redis_trust_t *trust, const redis_url_t *url, char *why,
    size_t size)
{
    int  ok;

    ok = url->ca[0] != '\0'
         ? ossl.p_SSL_CTX_load_verify_file(trust->ctx, url->ca)
         : ossl.p_SSL_CTX_set_default_verify_paths(trust->ctx);

    if (ok != 1) {
        redis_tls_say(why, size, "TLS: the file of \"ca\" cannot be read");
        return FAAS_ERROR;
    }

    if (url->cert[0] == '\0') {
        return FAAS_OK;
    }

    if (ossl.p_SSL_CTX_use_certificate_chain_file(trust->ctx, url->cert)
        != 1)
    {
        redis_tls_say(why, size, "TLS: the file of \"cert\" cannot be read");
        return FAAS_ERROR;
    }

    if (ossl.p_SSL_CTX_use_PrivateKey_file(trust->ctx, url->key,
                                           SSL_FILETYPE_PEM)
        != 1
        || ossl.p_SSL_CTX_check_private_key(trust->ctx) != 1)
    {
        redis_tls_say(why, size, "TLS: the file of \"key\" cannot be read, "
                      "or is another certificate's");
        return FAAS_ERROR;
    }

    return FAAS_OK;
}


void
redis_trust_destroy(redis_trust_t *trust)
{
    if (trust == NULL) {
        return;
    }

    if (trust->ctx != NULL) {
        ossl.p_SSL_CTX_free(trust->ctx);
    }

    free(trust);
}


/*
 * It stays loaded until the process ends: it has state of threads.  No
 * handler of atexit(): functions end by _exit(), and one that ends otherwise
 * must not find it torn down.
 */

static int
redis_tls_load(char *why, size_t size)
{
    void        *library;
    const char  *missing;

    if (ossl.loaded) {
        return FAAS_OK;
    }

    library = dlopen(REDIS_TLS_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        (void) snprintf(why, size, "TLS: %s", dlerror());
        return FAAS_ERROR;
    }

    missing = NULL;

    REDIS_TLS_FUNCTIONS(REDIS_TLS_LOOKUP)

    if (missing != NULL) {
        (void) snprintf(why, size, "TLS: %s has no %s", REDIS_TLS_LIBRARY,
                        missing);
        (void) dlclose(library);
        return FAAS_ERROR;
    }

    if (ossl.p_OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL) != 1) {
        (void) snprintf(why, size, "TLS: %s cannot be set up",
                        REDIS_TLS_LIBRARY);
        return FAAS_ERROR;
    }

    ossl.loaded = 1;

    return FAAS_OK;
}


/* with the oldest of OpenSSL's errors, and none left behind */
static void
redis_tls_say(char *why, size_t size, const char *what)
{
    const char     *reason;
    unsigned long   error;

    error = ossl.p_ERR_get_error();
    reason = error ? ossl.p_ERR_reason_error_string(error) : NULL;

    (void) snprintf(why, size, "%s%s%s", what, reason ? ": " : "",
                    reason ? reason : "");
    ossl.p_ERR_clear_error();
}


/* -- a connection ---------------------------------------------------------- */

redis_tls_t *
redis_tls_create(redis_trust_t *trust, int s, const char *host, char *why,
    size_t size)
{
    redis_tls_t  *tls;

    ossl.p_ERR_clear_error();

    tls = calloc(1, sizeof(redis_tls_t));
    if (tls == NULL) {
        (void) snprintf(why, size, "TLS: out of memory");
        return NULL;
    }

    tls->fd = s;
    tls->verify = trust->verify != REDIS_VERIFY_NO;
    tls->ssl = ossl.p_SSL_new(trust->ctx);
    tls->in = ossl.p_BIO_new(ossl.p_BIO_s_mem());
    tls->out = ossl.p_BIO_new(ossl.p_BIO_s_mem());

    if (tls->ssl == NULL || tls->in == NULL || tls->out == NULL) {
        goto failed;
    }

    /* an empty one is to be waited for, not an end */
    (void) ossl.p_BIO_ctrl(tls->in, BIO_C_SET_BUF_MEM_EOF_RETURN, -1, NULL);
    (void) ossl.p_BIO_ctrl(tls->out, BIO_C_SET_BUF_MEM_EOF_RETURN, -1, NULL);

    if (redis_tls_expect(tls, trust->verify, host) != 1) {
        goto failed;
    }

    ossl.p_SSL_set_bio(tls->ssl, tls->in, tls->out);
    ossl.p_SSL_set_connect_state(tls->ssl);

    return tls;

failed:

    redis_tls_say(why, size, "TLS cannot be set up");

    if (tls->in != NULL) {
        (void) ossl.p_BIO_free(tls->in);
    }

    if (tls->out != NULL) {
        (void) ossl.p_BIO_free(tls->out);
    }

    if (tls->ssl != NULL) {
        ossl.p_SSL_free(tls->ssl);
    }

    free(tls);

    return NULL;
}


/* the name that is asked for (not for addresses: RFC 6066), and the one that
   the certificate must have */
static int
redis_tls_expect(redis_tls_t *tls, redis_verify_e verify, const char *host)
{
    int                 is_address;
    struct in6_addr     address;
    X509_VERIFY_PARAM  *param;

    is_address = inet_pton(AF_INET, host, &address) == 1
                 || inet_pton(AF_INET6, host, &address) == 1;

    if (!is_address
        && ossl.p_SSL_ctrl(tls->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME,
                           TLSEXT_NAMETYPE_host_name, (void *) host)
           != 1)
    {
        return 0;
    }

    if (verify != REDIS_VERIFY_FULL) {
        return 1;
    }

    param = ossl.p_SSL_get0_param(tls->ssl);

    return is_address ? ossl.p_X509_VERIFY_PARAM_set1_ip_asc(param, host)
                      : ossl.p_X509_VERIFY_PARAM_set1_host(param, host, 0);
}


void
redis_tls_destroy(redis_tls_t *tls)
{
    if (tls == NULL) {
        return;
    }

    ossl.p_SSL_free(tls->ssl);
    free(tls);
}


int
redis_tls_handshake(redis_tls_t *tls, char *why, size_t size)
{
    int    rc, error;
    long   result;

    for ( ;; ) {
        ossl.p_ERR_clear_error();
        rc = ossl.p_SSL_do_handshake(tls->ssl);
        error = ossl.p_SSL_get_error(tls->ssl, rc);

        if (redis_tls_flush(tls) == -1) {
            (void) snprintf(why, size, "TLS: connection lost");
            return FAAS_EUNAVAILABLE;
        }

        if (rc == 1) {
            return FAAS_OK;
        }

        if (error != SSL_ERROR_WANT_READ) {
            break;
        }

        switch (redis_tls_fill(tls)) {
        case 1:
            continue;

        case REDIS_TLS_AGAIN:
            return REDIS_TLS_AGAIN;

        default:
            (void) snprintf(why, size, "TLS: connection lost");
            return FAAS_EUNAVAILABLE;
        }
    }

    result = ossl.p_SSL_get_verify_result(tls->ssl);

    if (tls->verify && result != X509_V_OK) {
        (void) snprintf(why, size, "TLS: certificate refused: %s",
                        ossl.p_X509_verify_cert_error_string(result));
        ossl.p_ERR_clear_error();

    } else {
        redis_tls_say(why, size, "TLS: handshake failed");
    }

    return FAAS_EDENIED;
}


/* from the socket to OpenSSL: 1: some, 0: the end, REDIS_TLS_AGAIN, -1 */
static int
redis_tls_fill(redis_tls_t *tls)
{
    char     buf[REDIS_TLS_CHUNK];
    ssize_t  n;

    do {
        n = recv(tls->fd, buf, sizeof(buf), MSG_DONTWAIT);
    } while (n == -1 && errno == EINTR);

    if (n == -1) {
        return errno == EAGAIN ? REDIS_TLS_AGAIN : -1;
    }

    if (n == 0) {
        return 0;
    }

    if (ossl.p_BIO_write(tls->in, buf, (int) n) != (int) n) {
        errno = ENOMEM;
        return -1;
    }

    return 1;
}


ssize_t
redis_tls_recv(redis_tls_t *tls, void *buf, size_t n)
{
    int  rc, error;

    for ( ;; ) {
        ossl.p_ERR_clear_error();
        rc = ossl.p_SSL_read(tls->ssl, buf,
                             n > REDIS_TLS_CHUNK ? REDIS_TLS_CHUNK : (int) n);
        if (rc > 0) {
            return rc;
        }

        error = ossl.p_SSL_get_error(tls->ssl, rc);

        if (error == SSL_ERROR_ZERO_RETURN) {
            return 0;
        }

        if (error != SSL_ERROR_WANT_READ) {
            ossl.p_ERR_clear_error();
            errno = EPROTO;
            return -1;
        }

        /* an answer to what was read, such as to a change of keys */
        if (redis_tls_flush(tls) == -1) {
            return -1;
        }

        switch (redis_tls_fill(tls)) {
        case 1:
            continue;

        case REDIS_TLS_AGAIN:
            errno = EAGAIN;
            return -1;

        case 0:
            return 0;

        default:
            return -1;
        }
    }
}


/* what it takes, it has taken: that it may not be with the socket yet is seen
   by redis_tls_is_pending() */
ssize_t
redis_tls_send(redis_tls_t *tls, const void *buf, size_t n)
{
    int  rc;

    if (redis_tls_flush(tls) == -1) {
        return -1;
    }

    if (redis_tls_is_pending(tls)) {
        errno = EAGAIN;
        return -1;
    }

    ossl.p_ERR_clear_error();
    rc = ossl.p_SSL_write(tls->ssl, buf,
                          n > REDIS_TLS_CHUNK ? REDIS_TLS_CHUNK : (int) n);
    if (rc <= 0) {
        ossl.p_ERR_clear_error();
        errno = EPROTO;
        return -1;
    }

    if (redis_tls_flush(tls) == -1) {
        return -1;
    }

    return rc;
}


int
redis_tls_is_pending(const redis_tls_t *tls)
{
    return tls->pos < tls->len || ossl.p_BIO_ctrl_pending(tls->out) > 0;
}


int
redis_tls_flush(redis_tls_t *tls)
{
    int      rc;
    ssize_t  n;

    for ( ;; ) {
        if (tls->pos == tls->len) {
            rc = ossl.p_BIO_read(tls->out, tls->buf, sizeof(tls->buf));

            if (rc <= 0) {
                return 0;
            }

            tls->pos = 0;
            tls->len = (size_t) rc;
        }

        n = send(tls->fd, tls->buf + tls->pos, tls->len - tls->pos,
                 MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n == -1) {
            if (errno == EINTR) {
                continue;
            }

            return errno == EAGAIN ? 0 : -1;
        }

        tls->pos += (size_t) n;
    }
}
