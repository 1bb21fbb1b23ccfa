/* MLLP load client: N connections, one message outstanding on each, loopback only.
 *
 * Reads messages from a file of frames (a 4-byte big-endian length, then the HL7 v2 message without MLLP
 * bytes), sends each one once, checks that the answer is a positive acknowledgement (MSA-1 AA or CA) of that
 * message (MSA-2 = its MSH-10), and prints one line of JSON. A compiled client, because on two cores a client
 * in Python costs as much as the server it measures.
 *
 * Exit status: 0 measured (errors are counted in the JSON), 2 wrong arguments or input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define VT 0x0b
#define FS 0x1c
#define CR 0x0d

enum { MAX_CONNECTIONS = 1024, MAX_COUNT = 5000000, MAX_SECONDS = 600, MAX_MESSAGE = 65536, ANSWER = 16384 };
enum { GRACE_SECONDS = 5, MAX_RECONNECTS = 1000 };

typedef struct {
    const uint8_t *bytes;
    uint32_t length;
} Message;

typedef struct {
    int fd;
    const Message *sent;  /* the outstanding message, or NULL */
    int64_t sent_at;      /* ns; in new-connection mode the moment before connect() */
    uint8_t *out;         /* VT message FS CR */
    uint32_t out_length, out_done;
    uint8_t in[ANSWER];
    uint32_t in_length;
} Connection;

typedef struct {
    const char *host, *frames;
    int port, connections, seconds, fresh;
    long count, first;
} Options;

static Options options;
static Message *messages;
static long total, next_message, reconnects;
static long acked, refused, mismatched, malformed, closed, unanswered;
static uint32_t *latencies; /* microseconds, one per acknowledged message */
static int64_t first_send, last_answer, stop_at;
static struct sockaddr_in server;
static int poller, open_connections;
static Connection *connections;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("mllp_load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(2);
}

static int64_t now(void) {
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    return (int64_t)moment.tv_sec * 1000000000 + moment.tv_nsec;
}

static long bounded(const char *name, const char *text, long low, long high) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || *end || end == text || value < low || value > high)
        fail("--%s must be between %ld and %ld", name, low, high);
    return value;
}

static void read_options(int argc, char **argv) {
    static const struct option known[] = {
        {"host", required_argument, 0, 'h'},    {"port", required_argument, 0, 'p'},
        {"connections", required_argument, 0, 'c'}, {"count", required_argument, 0, 'n'},
        {"seconds", required_argument, 0, 's'}, {"frames", required_argument, 0, 'f'},
        {"first", required_argument, 0, 'o'},   {"new-connection", no_argument, 0, 'w'},
        {0, 0, 0, 0}};
    options = (Options){.host = "127.0.0.1", .connections = 1, .seconds = 10, .count = MAX_COUNT};
    int letter;
    while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (letter) {
        case 'h': options.host = optarg; break;
        case 'p': options.port = (int)bounded("port", optarg, 1, 65535); break;
        case 'c': options.connections = (int)bounded("connections", optarg, 1, MAX_CONNECTIONS); break;
        case 'n': options.count = bounded("count", optarg, 1, MAX_COUNT); break;
        case 's': options.seconds = (int)bounded("seconds", optarg, 1, MAX_SECONDS); break;
        case 'f': options.frames = optarg; break;
        case 'o': options.first = bounded("first", optarg, 0, MAX_COUNT); break;
        case 'w': options.fresh = 1; break;
        default: exit(2);
        }
    }
    if (!options.port || !options.frames) fail("--port and --frames are needed");
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)options.port);
    if (inet_pton(AF_INET, options.host, &server.sin_addr) != 1 ||
        (ntohl(server.sin_addr.s_addr) >> 24) != 127)
        fail("only loopback addresses (127.0.0.0/8) are allowed");
}

/* Map the file and index the messages from --first on, at most --count of them. */
static void read_frames(void) {
    int fd = open(options.frames, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0 || info.st_size < 4) fail("cannot read the frames");
    const uint8_t *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (bytes == MAP_FAILED) fail("cannot map the frames");
    close(fd);
    long capacity = info.st_size / 5 + 1, index = 0;
    messages = calloc((size_t)capacity, sizeof *messages);
    if (!messages) fail("out of memory");
    for (off_t at = 0; at + 4 <= info.st_size && total < options.count; index++) {
        uint32_t length;
        memcpy(&length, bytes + at, 4);
        length = ntohl(length);
        at += 4;
        if (length < 8 || length > MAX_MESSAGE || at + length > info.st_size)
            fail("frame %ld is damaged", index);
        if (index >= options.first) messages[total++] = (Message){bytes + at, length};
        at += length;
    }
    if (!total) fail("no message from --first on");
}

/* Field `number` of the segment at `segment`, counted as after a split at the separator (MSH-10 is 9). */
static int field(const uint8_t *segment, const uint8_t *end, int number, const uint8_t **start,
                 uint32_t *length) {
    if (end - segment < 4) return 0;
    const uint8_t separator = segment[3], *at = segment;
    for (; number > 0; number--) {
        while (at < end && *at != separator && *at != CR) at++;
        if (at >= end || *at == CR) return 0;
        at++;
    }
    *start = at;
    while (at < end && *at != separator && *at != CR) at++;
    *length = (uint32_t)(at - *start);
    return 1;
}

/* Count the answer in connection->in (VT ... FS CR, end found at `end`). */
static void judge(Connection *connection, const uint8_t *end) {
    const uint8_t *at = connection->in, *code, *answered, *control;
    uint32_t code_length, answered_length, control_length;
    if (*at != VT) {
        malformed++;
        return;
    }
    for (at++; at < end; at++) {
        if (at[-1] != CR || end - at < 4 || memcmp(at, "MSA", 3) != 0) continue;
        if (!field(at, end, 1, &code, &code_length) || !field(at, end, 2, &answered, &answered_length)) break;
        if (code_length != 2 || (memcmp(code, "AA", 2) != 0 && memcmp(code, "CA", 2) != 0)) {
            refused++;
            return;
        }
        const Message *sent = connection->sent;
        if (!field(sent->bytes, sent->bytes + sent->length, 9, &control, &control_length) ||
            control_length != answered_length || memcmp(control, answered, control_length) != 0) {
            mismatched++;
            return;
        }
        last_answer = now();
        latencies[acked++] = (uint32_t)((last_answer - connection->sent_at) / 1000);
        return;
    }
    malformed++;
}

/* A socket on its way to the server: not waited for, so that a full backlog delays this connection only. */
static int connect_to_server(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
    if (fd < 0) return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&server, sizeof server) == 0 || errno == EINPROGRESS) return fd;
    close(fd);
    return -1;
}

static void leave(Connection *connection) {
    if (connection->fd >= 0) {
        close(connection->fd);
        open_connections--;
    }
    connection->fd = -1;
}

static int enter(Connection *connection) {
    connection->in_length = 0;
    if ((connection->fd = connect_to_server()) < 0) return 0;
    open_connections++;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = connection};
    epoll_ctl(poller, EPOLL_CTL_ADD, connection->fd, &event);
    return 1;
}

/* Write what is left of the outgoing bytes; 0 when the connection is gone. */
static int push(Connection *connection) {
    while (connection->out_done < connection->out_length) {
        ssize_t done = send(connection->fd, connection->out + connection->out_done,
                            connection->out_length - connection->out_done, MSG_NOSIGNAL);
        if (done < 0) return errno == EAGAIN || errno == EINTR;
        connection->out_done += (uint32_t)done;
    }
    return 1;
}

/* Put the next message on its way, or close the connection when there is none left to send. */
static void send_next(Connection *connection) {
    while (1) {
        if (next_message >= total || now() >= stop_at) {
            leave(connection);
            return;
        }
        connection->sent = &messages[next_message];
        connection->sent_at = now();
        if (!first_send) first_send = connection->sent_at;
        if (connection->fd < 0 && !enter(connection)) {
            connection->sent = NULL;
            closed++;
            if (++reconnects > MAX_RECONNECTS) return;
            usleep(1000);
            continue;
        }
        next_message++;
        connection->out[0] = VT;
        memcpy(connection->out + 1, connection->sent->bytes, connection->sent->length);
        connection->out[connection->sent->length + 1] = FS;
        connection->out[connection->sent->length + 2] = CR;
        connection->out_length = connection->sent->length + 3;
        connection->out_done = connection->in_length = 0;
        if (push(connection)) return;
        connection->sent = NULL;
        closed++;
        leave(connection);
        if (++reconnects > MAX_RECONNECTS) return;
    }
}

/* The peer hung up: an outstanding message counts as closed, and the next one gets a new connection. */
static void lost(Connection *connection) {
    if (connection->sent) closed++;
    connection->sent = NULL;
    leave(connection);
    if (options.fresh || ++reconnects <= MAX_RECONNECTS) send_next(connection);
}

static void take_answer(Connection *connection) {
    while (connection->fd >= 0) {
        ssize_t got =
            recv(connection->fd, connection->in + connection->in_length, ANSWER - connection->in_length, 0);
        if (got < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN) lost(connection);
            return;
        }
        if (got == 0) {
            lost(connection);
            return;
        }
        connection->in_length += (uint32_t)got;
        const uint8_t *in = connection->in, *end = NULL;
        for (uint32_t at = 1; at < connection->in_length; at++)
            if (in[at - 1] == FS && in[at] == CR) {
                end = in + at - 1;
                break;
            }
        if (!end && connection->in_length < ANSWER) continue;
        if (!end || !connection->sent) {
            malformed++; /* an endless answer, or one that nobody asked for */
            connection->sent = NULL;
            leave(connection);
        } else {
            judge(connection, end);
            connection->sent = NULL;
            if (end + 2 != in + connection->in_length) malformed++; /* more than one answer to one message */
            if (options.fresh) leave(connection);
        }
        send_next(connection);
        return; /* the socket was drained, or is new: epoll says when there is more */
    }
}

static int ascending(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static double percentile(double share) {
    if (!acked) return 0;
    long rank = (long)(share * (double)acked + 0.999999) - 1;
    return latencies[rank < 0 ? 0 : rank >= acked ? acked - 1 : rank] / 1000.0;
}

static void report(void) {
    qsort(latencies, (size_t)acked, sizeof *latencies, ascending);
    double seconds = acked ? (double)(last_answer - first_send) / 1e9 : 0;
    long errors = refused + mismatched + malformed + closed + unanswered;
    printf("{\"client\": \"c\", \"connections\": %d, \"new_connection\": %s, \"sent\": %ld, \"acked\": %ld, "
           "\"errors\": %ld, \"refused\": %ld, \"mismatched\": %ld, \"malformed\": %ld, \"closed\": %ld, "
           "\"unanswered\": %ld, \"seconds\": %.6f, \"per_second\": %.1f, "
           "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"first_send\": %.6f}\n",
           options.connections, options.fresh ? "true" : "false", next_message, acked, errors, refused,
           mismatched, malformed, closed, unanswered, seconds, seconds > 0 ? (double)acked / seconds : 0.0,
           percentile(0.50), percentile(0.99), percentile(1.0), (double)first_send / 1e9);
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    read_frames();
    latencies = calloc((size_t)total, sizeof *latencies);
    connections = calloc((size_t)options.connections, sizeof *connections);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!latencies || !connections || poller < 0) fail("out of memory");
    for (int i = 0; i < options.connections; i++) {
        connections[i].fd = -1;
        connections[i].out = malloc(MAX_MESSAGE + 3);
        if (!connections[i].out) fail("out of memory");
        if (!options.fresh && !enter(&connections[i])) fail("cannot connect");
    }
    stop_at = now() + (int64_t)options.seconds * 1000000000;
    for (int i = 0; i < options.connections; i++) send_next(&connections[i]);
    struct epoll_event events[256];
    while (open_connections > 0 && now() < stop_at + (int64_t)GRACE_SECONDS * 1000000000) {
        int ready = epoll_wait(poller, events, 256, 100);
        for (int i = 0; i < ready; i++) {
            Connection *connection = events[i].data.ptr;
            if (connection->fd < 0) continue;
            if ((events[i].events & EPOLLOUT) && connection->sent && !push(connection)) {
                lost(connection);
                continue;
            }
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) take_answer(connection);
        }
    }
    for (int i = 0; i < options.connections; i++)
        if (connections[i].sent) unanswered++;
    report();
    return 0;
}
