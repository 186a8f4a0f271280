/* The floor: the least that a FastCGI server can do for a request, and no application at all.
 *
 *     cc -O2 -o floor benchmarks/floor.c && ./floor SOCKET
 *
 * One thread, one epoll. It splits records, finds the end of a request, and answers a fixed
 * response with the request id filled in. Variables are not decoded. As in the server that it is
 * the floor of, a new connection is read straight after accept, before it is registered.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BEGIN_REQUEST = 1, END_REQUEST = 3, STDIN = 5, STDOUT = 6, KEEP_CONN = 1 };
enum { MAX_CONNECTIONS = 1024, BUFFER = 72 * 1024 }; /* one record of the largest size fits */

struct connection {
    int fd;
    int keep;
    size_t filled;
    unsigned char buffer[BUFFER];
};

static const char response[] =
    "Status: 200 OK\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "Content-Length: 14\r\n"
    "\r\n"
    "Hello, World!\n";

static struct connection *connections[MAX_CONNECTIONS];
static unsigned char answer[512];
static size_t answer_size;
static int poller;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void add_record(int type, const void *content, size_t size) {
    size_t padding = (8 - size % 8) % 8;
    unsigned char header[8] = {1, (unsigned char)type, 0, 0,
                               (unsigned char)(size >> 8), (unsigned char)size,
                               (unsigned char)padding, 0};
    memcpy(answer + answer_size, header, 8);
    memcpy(answer + answer_size + 8, content, size);
    answer_size += 8 + size + padding;
}

static void send_answer(int fd, unsigned id) {
    for (size_t at = 0; at < answer_size;) { /* the id of each record */
        size_t size = (size_t)(answer[at + 4] << 8 | answer[at + 5]);
        answer[at + 2] = (unsigned char)(id >> 8);
        answer[at + 3] = (unsigned char)id;
        at += 8 + size + answer[at + 6];
    }
    if (send(fd, answer, answer_size, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
        die("send");
}

/* Take in what has arrived; 0 when the connection is over. */
static int serve(struct connection *c) {
    ssize_t got = recv(c->fd, c->buffer + c->filled, BUFFER - c->filled, 0);
    if (got < 0)
        return errno == EAGAIN;
    if (got == 0)
        return 0;
    c->filled += (size_t)got;
    size_t at = 0;
    while (c->filled - at >= 8) {
        const unsigned char *record = c->buffer + at;
        size_t size = (size_t)(record[4] << 8 | record[5]);
        if (c->filled - at < 8 + size + record[6])
            break;
        if (record[1] == BEGIN_REQUEST && size == 8)
            c->keep = record[10] & KEEP_CONN;
        if (record[1] == STDIN && size == 0) {
            send_answer(c->fd, (unsigned)(record[2] << 8 | record[3]));
            if (!c->keep)
                return 0;
        }
        at += 8 + size + record[6];
    }
    c->filled -= at;
    if (at && c->filled)
        memmove(c->buffer, c->buffer + at, c->filled);
    return 1;
}

static void accept_one(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (fd >= MAX_CONNECTIONS) {
        close(fd);
        return;
    }
    struct connection *c = connections[fd];
    if (c == NULL && (c = connections[fd] = malloc(sizeof *c)) == NULL)
        die("malloc");
    c->fd = fd;
    c->keep = 0;
    c->filled = 0;
    if (!serve(c)) {
        close(fd);
        return;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

int main(int argc, char **argv) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path) {
        fprintf(stderr, "usage: floor SOCKET\n");
        return 2;
    }
    add_record(STDOUT, response, sizeof response - 1);
    add_record(STDOUT, "", 0);
    add_record(END_REQUEST, "\0\0\0\0\0\0\0\0", 8);

    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, argv[1]);
    umask(0); /* the worker of nginx runs as another user and has to connect */
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, 1024) < 0)
        die(argv[1]);
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) < 0)
        die("epoll");
    for (;;) {
        struct epoll_event ready[64];
        int count = epoll_wait(poller, ready, 64, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd;
            if (fd == listener)
                accept_one(listener);
            else if (!serve(connections[fd]))
                close(fd);
        }
    }
}
