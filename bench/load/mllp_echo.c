/* The load client's ceiling: acknowledges every MLLP frame at once and stores nothing. Loopback only.
 *
 * One thread, epoll; the answer is AA with the sender's MSH-10. What the client reaches against this server
 * is the most it could ever measure. Usage: mllp_echo PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 131072, MAX_FD = 4096 };

typedef struct {
    char bytes[BUFFER];
    size_t length;
} Inbound;

static Inbound *inbound[MAX_FD];

static void drop(int fd) {
    free(inbound[fd]);
    inbound[fd] = NULL;
    close(fd);
}

/* Answer one message: MSH-10 is the tenth field counted from the segment's name. */
static int acknowledge(int fd, const char *message, const char *end) {
    const char *at = message, *control;
    for (int number = 0; number < 9; number++) {
        at = memchr(at, '|', (size_t)(end - at));
        if (!at) return 0;
        at++;
    }
    control = at;
    while (at < end && *at != '|' && *at != '\r') at++;
    char answer[512];
    int length = snprintf(answer, sizeof answer,
                          "\x0b" "MSH|^~\\&|ECHO|ECHO|||||ACK|1|P|2.5\rMSA|AA|%.*s\r\x1c\r",
                          (int)(at - control), control);
    if (length <= 0 || (size_t)length >= sizeof answer) return 0;
    return send(fd, answer, (size_t)length, MSG_NOSIGNAL) == length;
}

static void take(int fd) {
    Inbound *in = inbound[fd];
    while (1) {
        ssize_t got = recv(fd, in->bytes + in->length, BUFFER - in->length, MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) break;
        in->length += (size_t)got;
        char *end;
        while ((end = memmem(in->bytes, in->length, "\x1c\r", 2))) {
            if (in->bytes[0] != 0x0b || !acknowledge(fd, in->bytes + 1, end)) {
                drop(fd);
                return;
            }
            in->length -= (size_t)(end + 2 - in->bytes);
            memmove(in->bytes, end + 2, in->length);
        }
        if (in->length == BUFFER) break;
    }
    drop(fd);
}

int main(int argc, char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, port = argc == 2 ? atoi(argv[1]) : 0, poller = epoll_create1(EPOLL_CLOEXEC);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (port <= 0 || port > 65535) return 2;
    address.sin_port = htons((unsigned short)port);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) return 1;
    struct epoll_event events[256], event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    while (1) {
        int ready = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) {
                if (inbound[fd]) take(fd);
                continue;
            }
            int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            if (peer < 0) continue;
            if (peer >= MAX_FD || !(inbound[peer] = calloc(1, sizeof(Inbound)))) {
                close(peer);
                continue;
            }
            setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            event = (struct epoll_event){.events = EPOLLIN, .data.fd = peer};
            epoll_ctl(poller, EPOLL_CTL_ADD, peer, &event);
        }
    }
}
