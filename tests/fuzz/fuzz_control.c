/* objects: scoreboard/faas_control.c worker/message.c */
/* objects: worker/keeper_packet.c */

/*
 * Packets, as they come over real sockets: to faas_state/control, between
 * supervisor and templates, from the supervisor to its keeper.  And the
 * percent-encoding of texts in them.
 */


#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "faas_control.h"
#include "faas_scoreboard.h"
#include "keeper.h"
#include "message.h"


static int  pair[2] = { -1, -1 };


/* a packet that the receiver did not take is not the next one's */

static void
empty(void)
{
    char  buf[16];

    while (recv(pair[1], buf, sizeof(buf), MSG_DONTWAIT) > 0) {
        /* void */
    }
}


static void
control(void)
{
    static faas_control_message_t  m;

    if (faas_control_recv(pair[1], &m) == FAAS_OK) {
        must(m.head.length <= FAAS_CONTROL_PAYLOAD);
        must(m.payload[m.head.length] == '\0');
        must(m.nfds == 0);
    }
}


static void
message(void)
{
    message_in_t  in;
    static char   buf[MESSAGE_TEXT + 1];

    if (message_recv(pair[1], &in, buf, sizeof(buf)) == 0) {
        must(in.nfds == 0);
        must(in.text >= buf && in.text + in.head.text_length
                               < buf + sizeof(buf));
        must(in.text[in.head.text_length] == '\0');
        must(memchr(in.head.name, '\0', sizeof(in.head.name)) != NULL);
        must(memchr(in.head.version, '\0', sizeof(in.head.version)) != NULL);
    }
}


static void
keeper(void)
{
    int              fd;
    keeper_packet_t  packet;

    if (keeper_packet_receive(pair[1], MSG_DONTWAIT, &packet, &fd) == 0) {
        must(fd == -1);
        must(memchr(packet.key, '\0', KEEPER_KEY_SIZE) != NULL);
    }
}


static void
text(const uint8_t *data, size_t size)
{
    char     *decoded, *encoded;
    size_t    n;
    ssize_t   rc;

    /* whatever is encoded, is decoded to the same */

    encoded = malloc(3 * size + 1);
    must(encoded != NULL);

    n = faas_control_encode(encoded, (const char *) data, size);
    must(n <= 3 * size && encoded[n] == '\0' && strlen(encoded) == n);
    must(strchr(encoded, ' ') == NULL && strchr(encoded, '\n') == NULL);

    rc = faas_control_decode(encoded);
    must(rc == (ssize_t) size);
    must(size == 0 || memcmp(encoded, data, size) == 0);

    free(encoded);

    decoded = fuzz_text(data, size);
    n = strlen(decoded);

    rc = faas_control_decode(decoded);
    must(rc >= -1 && rc <= (ssize_t) n);
    must(rc == -1 || decoded[rc] == '\0');

    free(decoded);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int  which;

    if (size < 1 || size > 100 * 1024) {
        return 0;
    }

    which = data[0] & 3;
    data++;
    size--;

    if (which == 3) {
        text(data, size);
        return 0;
    }

    if (pair[0] == -1) {
        must(socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_NONBLOCK, 0, pair)
             == 0);
    }

    if (size == 0 || send(pair[0], data, size, MSG_DONTWAIT) == -1) {
        return 0;
    }

    if (which == 0) {
        control();

    } else if (which == 1) {
        message();

    } else {
        keeper();
    }

    empty();

    return 0;
}
