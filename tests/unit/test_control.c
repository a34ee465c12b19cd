
/* objects: scoreboard/faas_control.c */

/*
 * The packets of faas_state/control, against a hostile other end, and the
 * text form of strings.
 */


#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "faas_control.h"
#include "faas_scoreboard.h"


static int                     pair[2];
static faas_control_message_t  in;


static int
open_pair(void **state)
{
    (void) state;

    return socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC, 0, pair);
}


static int
close_pair(void **state)
{
    (void) state;

    (void) close(pair[0]);
    (void) close(pair[1]);

    return 0;
}


static int
open_descriptors(void)
{
    int  fd, n;

    n = 0;

    for (fd = 0; fd < 1024; fd++) {
        if (fcntl(fd, F_GETFD) != -1) {
            n++;
        }
    }

    return n;
}


static void
test_message_arrives_as_sent(void **state)
{
    faas_control_page_t  page = { .slot = 17 };

    (void) state;

    assert_int_equal(faas_control_send(pair[0], FAAS_CONTROL_PAGE, &page,
                                       sizeof(page), NULL, 0), FAAS_OK);
    assert_int_equal(faas_control_recv(pair[1], &in), FAAS_OK);

    assert_int_equal(in.head.type, FAAS_CONTROL_PAGE);
    assert_int_equal(in.head.layout, FAAS_SCOREBOARD_LAYOUT);
    assert_int_equal(in.head.length, sizeof(page));
    assert_memory_equal(in.payload, &page, sizeof(page));
    assert_int_equal(in.nfds, 0);
}


static void
test_message_without_payload(void **state)
{
    (void) state;

    assert_int_equal(faas_control_send(pair[0], FAAS_CONTROL_ACCEPTED, NULL,
                                       0, NULL, 0), FAAS_OK);
    assert_int_equal(faas_control_recv(pair[1], &in), FAAS_OK);
    assert_int_equal(in.head.length, 0);
    assert_string_equal(in.payload, "");
}


static void
test_longest_payload_is_terminated(void **state)
{
    char  *text;

    (void) state;

    text = malloc(FAAS_CONTROL_PAYLOAD + 1);
    assert_non_null(text);
    memset(text, 'x', FAAS_CONTROL_PAYLOAD + 1);

    assert_int_equal(faas_control_send(pair[0], FAAS_CONTROL_REFUSED, text,
                                       FAAS_CONTROL_PAYLOAD, NULL, 0),
                     FAAS_OK);
    assert_int_equal(faas_control_recv(pair[1], &in), FAAS_OK);
    assert_int_equal(strlen(in.payload), FAAS_CONTROL_PAYLOAD);

    errno = 0;
    assert_int_equal(faas_control_send(pair[0], FAAS_CONTROL_REFUSED, text,
                                       FAAS_CONTROL_PAYLOAD + 1, NULL, 0),
                     FAAS_ERROR);
    assert_int_equal(errno, EMSGSIZE);

    free(text);
}


static void
test_descriptors_arrive_in_order_close_on_exec(void **state)
{
    int          i, fds[FAAS_CONTROL_FDS], before;
    struct stat  sent, received;

    (void) state;

    before = open_descriptors();

    for (i = 0; i < FAAS_CONTROL_FDS; i++) {
        fds[i] = open(i & 1 ? "/dev/zero" : "/dev/null", O_RDONLY|O_CLOEXEC);
        assert_int_not_equal(fds[i], -1);
    }

    assert_int_equal(faas_control_send(pair[0], FAAS_CONTROL_EVENTFDS, "x", 1,
                                       fds, FAAS_CONTROL_FDS), FAAS_OK);
    assert_int_equal(faas_control_recv(pair[1], &in), FAAS_OK);
    assert_int_equal(in.nfds, FAAS_CONTROL_FDS);

    for (i = 0; i < FAAS_CONTROL_FDS; i++) {
        assert_int_equal(fstat(fds[i], &sent), 0);
        assert_int_equal(fstat(in.fd[i], &received), 0);
        assert_int_equal(sent.st_rdev, received.st_rdev);
        assert_int_equal(fcntl(in.fd[i], F_GETFD), FD_CLOEXEC);

        (void) close(fds[i]);
        (void) close(in.fd[i]);
    }

    assert_int_equal(open_descriptors(), before);

    errno = 0;
    assert_int_equal(faas_control_send(pair[0], FAAS_CONTROL_EVENTFDS, "x", 1,
                                       fds, FAAS_CONTROL_FDS + 1),
                     FAAS_ERROR);
    assert_int_equal(errno, EMSGSIZE);
}


static void
test_nothing_there_is_again_and_end_is_done(void **state)
{
    (void) state;

    assert_int_equal(fcntl(pair[1], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(faas_control_recv(pair[1], &in), FAAS_AGAIN);

    (void) close(pair[0]);
    assert_int_equal(faas_control_recv(pair[1], &in), FAAS_DONE);

    /* and the writer's side of it, without a SIGPIPE */

    errno = 0;
    assert_int_equal(faas_control_send(pair[1], FAAS_CONTROL_WORKER, "x", 1,
                                       NULL, 0), FAAS_ERROR);
    assert_int_equal(errno, EPIPE);

    pair[0] = open("/dev/null", O_RDONLY|O_CLOEXEC);
}


static void
test_full_socket_is_again(void **state)
{
    int  i, rc;

    (void) state;

    assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);

    rc = FAAS_OK;

    for (i = 0; i < 100000 && rc == FAAS_OK; i++) {
        rc = faas_control_send(pair[0], FAAS_CONTROL_WORKER, "1234", 4, NULL,
                               0);
    }

    assert_int_equal(rc, FAAS_AGAIN);

    /* what went in comes out whole */

    while (--i) {
        assert_int_equal(faas_control_recv(pair[1], &in), FAAS_OK);
        assert_string_equal(in.payload, "1234");
    }
}


/* sends raw bytes and a descriptor, which must not stay open */

static void
assert_refused(const void *data, size_t n)
{
    int             fd, before;
    struct iovec    iov;
    struct msghdr   msg;
    struct cmsghdr *cmsg;

    union {
        struct cmsghdr  head;
        char            data[CMSG_SPACE(sizeof(int))];
    } ancillary;

    memset(&msg, 0, sizeof(msg));
    memset(&ancillary, 0, sizeof(ancillary));

    iov.iov_base = (void *) (uintptr_t) data;
    iov.iov_len = n;
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = &ancillary;
    msg.msg_controllen = sizeof(ancillary);

    fd = open("/dev/null", O_RDONLY|O_CLOEXEC);
    assert_int_not_equal(fd, -1);

    cmsg = CMSG_FIRSTHDR(&msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));

    assert_int_equal(sendmsg(pair[0], &msg, 0), (ssize_t) n);
    (void) close(fd);

    before = open_descriptors();

    errno = 0;
    assert_int_equal(faas_control_recv(pair[1], &in), FAAS_ERROR);
    assert_int_equal(errno, EPROTO);
    assert_int_equal(in.nfds, 0);
    assert_int_equal(open_descriptors(), before);
}


static void
test_foreign_packet_is_refused_and_its_descriptors_closed(void **state)
{
    char                 data[sizeof(faas_control_head_t) + 8];
    size_t               n;
    faas_control_head_t  head;

    (void) state;

    memset(data, 0, sizeof(data));

    head.magic = FAAS_CONTROL_MAGIC;
    head.layout = FAAS_SCOREBOARD_LAYOUT;
    head.type = FAAS_CONTROL_PAGE;
    head.length = 8;
    memcpy(data, &head, sizeof(head));

    /* every truncation; a whole one is taken */

    for (n = 1; n < sizeof(data); n++) {
        assert_refused(data, n);
    }

    assert_int_equal(send(pair[0], data, sizeof(data), 0),
                     (ssize_t) sizeof(data));
    assert_int_equal(faas_control_recv(pair[1], &in), FAAS_OK);

    head.length = 7;
    memcpy(data, &head, sizeof(head));
    assert_refused(data, sizeof(data));

    head.length = 0xffffffff;
    memcpy(data, &head, sizeof(head));
    assert_refused(data, sizeof(data));

    head.length = 8;
    head.magic++;
    memcpy(data, &head, sizeof(head));
    assert_refused(data, sizeof(data));
}


static void
test_other_layout_is_refused_and_named(void **state)
{
    faas_control_head_t  head;

    (void) state;

    memset(&head, 0, sizeof(head));
    head.magic = FAAS_CONTROL_MAGIC;
    head.layout = FAAS_SCOREBOARD_LAYOUT + 1;
    head.type = FAAS_CONTROL_REFUSED;

    assert_refused(&head, sizeof(head));
    assert_int_equal(in.head.layout, FAAS_SCOREBOARD_LAYOUT + 1);
}


static void
test_longer_than_the_longest_is_refused(void **state)
{
    char                 *data;
    size_t                size;
    faas_control_head_t   head;

    (void) state;

    size = sizeof(head) + FAAS_CONTROL_PAYLOAD + 1;
    data = calloc(1, size);
    assert_non_null(data);

    memset(&head, 0, sizeof(head));
    head.magic = FAAS_CONTROL_MAGIC;
    head.layout = FAAS_SCOREBOARD_LAYOUT;
    head.length = FAAS_CONTROL_PAYLOAD;
    memcpy(data, &head, sizeof(head));

    assert_refused(data, size);
    free(data);
}


static void
test_encoded_text_has_no_blank_and_decodes_to_itself(void **state)
{
    int     i;
    char    all[256], text[3 * 256 + 1];
    size_t  n;

    (void) state;

    for (i = 0; i < 256; i++) {
        all[i] = (char) i;
    }

    n = faas_control_encode(text, all, sizeof(all));
    assert_int_equal(n, strlen(text));

    for (i = 0; i < (int) n; i++) {
        assert_in_range(text[i], 0x21, 0x7e);
    }

    assert_int_equal(faas_control_decode(text), sizeof(all));
    assert_memory_equal(text, all, sizeof(all));

    assert_int_equal(faas_control_encode(text, "", 0), 0);
    assert_string_equal(text, "");

    assert_int_equal(faas_control_encode(text, "a b%", 4), 8);
    assert_string_equal(text, "a%20b%25");
}


static void
test_malformed_text_does_not_decode(void **state)
{
    size_t              i;
    char                text[16];
    static const char  *bad[] = { "%", "a%", "%2", "%zz", "%2g", "%%20",
                                  "ok%f" };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void) strcpy(text, bad[i]);
        assert_int_equal(faas_control_decode(text), -1);
    }

    (void) strcpy(text, "%2F%2f");
    assert_int_equal(faas_control_decode(text), 2);
    assert_string_equal(text, "//");
}


#define pair_test(test)                                                       \
    cmocka_unit_test_setup_teardown(test, open_pair, close_pair)


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        pair_test(test_message_arrives_as_sent),
        pair_test(test_message_without_payload),
        pair_test(test_longest_payload_is_terminated),
        pair_test(test_descriptors_arrive_in_order_close_on_exec),
        pair_test(test_nothing_there_is_again_and_end_is_done),
        pair_test(test_full_socket_is_again),
        pair_test(test_foreign_packet_is_refused_and_its_descriptors_closed),
        pair_test(test_other_layout_is_refused_and_named),
        pair_test(test_longer_than_the_longest_is_refused),
        cmocka_unit_test(test_encoded_text_has_no_blank_and_decodes_to_itself),
        cmocka_unit_test(test_malformed_text_does_not_decode),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
