
/* objects: worker/message.c */

/*
 * The packets of the worker side, whole and broken: what a hostile function
 * writes to a report channel may cost that packet and nothing else.
 */


#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "faas_scoreboard.h"
#include "message.h"


static int           pair[2];
static message_in_t  in;
static char          text[MESSAGE_TEXT];


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
        n += fcntl(fd, F_GETFD) != -1;
    }

    return n;
}


static message_t
example(void)
{
    message_t  message;

    memset(&message, 0, sizeof(message_t));

    message.type = MESSAGE_FORK;
    message.slot = 7;
    message.generation = 0x123456789abcull;
    message.pid = -1;
    (void) strcpy(message.name, "hello");

    return message;
}


static int
receive(void)
{
    return message_recv(pair[1], &in, text, sizeof(text));
}


static void
test_message_arrives_as_sent(void **state)
{
    message_t  message;

    (void) state;

    message = example();

    assert_int_equal(message_send(pair[0], &message, "a\0b", 3, NULL, 0),
                     FAAS_OK);
    assert_int_equal(receive(), FAAS_OK);

    assert_memory_equal(&in.head, &message, sizeof(message_t));
    assert_int_equal(in.head.text_length, 3);
    assert_memory_equal(in.text, "a\0b", 4);
    assert_int_equal(in.nfds, 0);
    assert_int_equal(in.sender, 0);
}


static void
test_longest_text_arrives_and_a_longer_is_refused(void **state)
{
    char       *long_text;
    message_t   message;

    (void) state;

    message = example();
    long_text = malloc(MESSAGE_TEXT);
    assert_non_null(long_text);
    memset(long_text, 'x', MESSAGE_TEXT);

    assert_int_equal(message_send(pair[0], &message, long_text,
                                  MESSAGE_TEXT - 1, NULL, 0), FAAS_OK);
    assert_int_equal(receive(), FAAS_OK);
    assert_int_equal(strlen(in.text), MESSAGE_TEXT - 1);

    assert_int_equal(message_send(pair[0], &message, long_text, MESSAGE_TEXT,
                                  NULL, 0), FAAS_ERROR);
    assert_int_equal(errno, EMSGSIZE);

    free(long_text);
}


static void
test_descriptors_arrive_in_order_and_close_on_exec(void **state)
{
    int          fd[MESSAGE_FDS], before;
    uint32_t     i;
    message_t    message;
    struct stat  sent, received;

    (void) state;

    before = open_descriptors();
    message = example();

    for (i = 0; i < MESSAGE_FDS; i++) {
        fd[i] = memfd_create("test", 0);
        assert_int_not_equal(fd[i], -1);
    }

    assert_int_equal(message_send(pair[0], &message, NULL, 0, fd, MESSAGE_FDS),
                     FAAS_OK);
    assert_int_equal(message_send(pair[0], &message, NULL, 0, fd,
                                  MESSAGE_FDS + 1), FAAS_ERROR);
    assert_int_equal(receive(), FAAS_OK);
    assert_int_equal(in.nfds, MESSAGE_FDS);

    for (i = 0; i < MESSAGE_FDS; i++) {
        assert_int_equal(fstat(fd[i], &sent), 0);
        assert_int_equal(fstat(in.fd[i], &received), 0);
        assert_int_equal(sent.st_ino, received.st_ino);
        assert_int_equal(fcntl(in.fd[i], F_GETFD), FD_CLOEXEC);

        (void) close(fd[i]);
        (void) close(in.fd[i]);
    }

    assert_int_equal(open_descriptors(), before);
}


static void
test_credentials_name_the_sender(void **state)
{
    pid_t      pid;
    message_t  message;

    (void) state;

    message = example();

    assert_int_equal(message_want_credentials(pair[1]), FAAS_OK);

    pid = fork();

    if (pid == 0) {
        _exit(message_send(pair[0], &message, NULL, 0, NULL, 0) != FAAS_OK);
    }

    assert_int_equal(receive(), FAAS_OK);
    assert_int_equal(in.sender, pid);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}


static void
test_nothing_there_and_full_are_again(void **state)
{
    int        sent;
    message_t  message;

    (void) state;

    message = example();

    assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(fcntl(pair[1], F_SETFL, O_NONBLOCK), 0);

    assert_int_equal(receive(), FAAS_AGAIN);

    sent = 0;

    while (message_send(pair[0], &message, NULL, 0, NULL, 0) == FAAS_OK) {
        sent++;
    }

    assert_int_equal(message_send(pair[0], &message, NULL, 0, NULL, 0),
                     FAAS_AGAIN);

    while (receive() == FAAS_OK) {
        sent--;
    }

    assert_int_equal(sent, 0);
}


static void
test_end_is_done(void **state)
{
    message_t  message;

    (void) state;

    message = example();

    /* a packet that the other end did not read makes it a reset */

    assert_int_equal(message_send(pair[1], &message, NULL, 0, NULL, 0),
                     FAAS_OK);

    (void) close(pair[0]);
    assert_int_equal(receive(), FAAS_DONE);
    assert_int_equal(receive(), FAAS_DONE);

    /* and no SIGPIPE */

    assert_int_equal(message_send(pair[1], &message, NULL, 0, NULL, 0),
                     FAAS_ERROR);
    assert_int_equal(errno, EPIPE);
}


static void
refused(const void *packet, size_t n)
{
    assert_int_equal(send(pair[0], packet, n, 0), (ssize_t) n);
    assert_int_equal(receive(), FAAS_ERROR);
    assert_int_equal(errno, EPROTO);
    assert_int_equal(in.nfds, 0);
}


static void
test_packets_of_another_form_are_refused(void **state)
{
    char       packet[sizeof(message_t) + 8];
    size_t     n;
    message_t  message;

    (void) state;

    message = example();
    message.magic = MESSAGE_MAGIC;

    for (n = 1; n < sizeof(message_t); n++) {
        refused(&message, n);
    }

    message.magic++;
    refused(&message, sizeof(message_t));
    message.magic--;

    message.text_length = 1;
    refused(&message, sizeof(message_t));
    message.text_length = 0xffffffff;
    refused(&message, sizeof(message_t));
    message.text_length = 7;
    memcpy(packet, &message, sizeof(message_t));
    refused(packet, sizeof(packet));
    message.text_length = 0;

    memset(message.name, 'x', sizeof(message.name));
    refused(&message, sizeof(message_t));
    message.name[0] = '\0';
    message.name[sizeof(message.name) - 1] = '\0';
    memset(message.version, 'x', sizeof(message.version));
    refused(&message, sizeof(message_t));
    memset(message.version, 0, sizeof(message.version));

    assert_int_equal(send(pair[0], &message, sizeof(message_t), 0),
                     sizeof(message_t));
    assert_int_equal(receive(), FAAS_OK);
}


static void
test_text_longer_than_the_buffer_is_refused(void **state)
{
    char       small[4];
    message_t  message;

    (void) state;

    message = example();

    assert_int_equal(message_send(pair[0], &message, "abc", 3, NULL, 0), 0);
    assert_int_equal(message_recv(pair[1], &in, small, sizeof(small)), 0);
    assert_string_equal(in.text, "abc");

    assert_int_equal(message_send(pair[0], &message, "abcd", 4, NULL, 0), 0);
    assert_int_equal(message_recv(pair[1], &in, small, sizeof(small)),
                     FAAS_ERROR);
    assert_int_equal(errno, EPROTO);
}


static void
send_with_descriptors(const void *packet, size_t n, int count)
{
    int              fd[64], i;
    char             control[CMSG_SPACE(sizeof(fd))];
    struct iovec     iov;
    struct msghdr    mh;
    struct cmsghdr  *cmsg;

    memset(control, 0, sizeof(control));
    memset(&mh, 0, sizeof(struct msghdr));

    for (i = 0; i < count; i++) {
        fd[i] = STDIN_FILENO;
    }

    iov.iov_base = (void *) packet;
    iov.iov_len = n;

    mh.msg_iov = &iov;
    mh.msg_iovlen = 1;
    mh.msg_control = control;
    mh.msg_controllen = CMSG_SPACE((size_t) count * sizeof(int));

    cmsg = CMSG_FIRSTHDR(&mh);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN((size_t) count * sizeof(int));
    memcpy(CMSG_DATA(cmsg), fd, (size_t) count * sizeof(int));

    assert_int_equal(sendmsg(pair[0], &mh, 0), (ssize_t) n);
}


static void
test_refused_packets_leave_no_descriptor(void **state)
{
    int        before;
    message_t  message;

    (void) state;

    before = open_descriptors();

    message = example();
    message.magic = MESSAGE_MAGIC;

    send_with_descriptors(&message, 10, 3);
    assert_int_equal(receive(), FAAS_ERROR);
    assert_int_equal(open_descriptors(), before);

    /* more of them than any message has */

    send_with_descriptors(&message, sizeof(message_t), 64);
    assert_int_equal(receive(), FAAS_ERROR);
    assert_int_equal(open_descriptors(), before);
}


int
main(void)
{
#define with_pair(test)                                                       \
    cmocka_unit_test_setup_teardown(test, open_pair, close_pair)

    const struct CMUnitTest  tests[] = {
        with_pair(test_message_arrives_as_sent),
        with_pair(test_longest_text_arrives_and_a_longer_is_refused),
        with_pair(test_descriptors_arrive_in_order_and_close_on_exec),
        with_pair(test_credentials_name_the_sender),
        with_pair(test_nothing_there_and_full_are_again),
        with_pair(test_end_is_done),
        with_pair(test_packets_of_another_form_are_refused),
        with_pair(test_text_longer_than_the_buffer_is_refused),
        with_pair(test_refused_packets_leave_no_descriptor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
