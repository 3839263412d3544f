/* A provider that answers at once, or as slowly as it is told, so that what is measured is what stands before it.
 *
 * usage: upstream ANSWER_FILE [PORT]        prints its port, serves on 127.0.0.1 until it is killed
 *
 * Any path answers. Its first segment says how: /DELAY_US.EVENTS.GAP_US/...
 *   DELAY_US   before the first byte
 *   EVENTS     of a streamed answer (a body with "stream": true), each written by a send of its own
 *   GAP_US     between two events; 0 sends them in one burst
 * A plain answer is the bytes of ANSWER_FILE. The last event carries the usage; then comes [DONE].
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1 << 17, MAX_FDS = 1 << 16, MAX_EVENTS = 1024 };

struct peer {
    int fd, used;      /* bytes of `in` that are filled */
    int waiting;       /* a request is being answered */
    int stream, events, sent;
    long delay_us, gap_us;
    long long due_us;
    char in[ROOM + 1];
};

static struct peer *peers[MAX_FDS];
static struct peer *busy[MAX_FDS]; /* those with `waiting` */
static int busy_count, poller;
static char *plain_answer, *stream_head;
static int plain_bytes, stream_head_bytes;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static long long now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void send_all(int fd, const char *data, int size) {
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd slow = {fd, POLLOUT, 0};
            if (poll(&slow, 1, 1000) <= 0) return;
            continue;
        }
        if (n < 0) return; /* gone; recv will say so */
        data += n;
        size -= n;
    }
}

static void send_event(struct peer *p) {
    static const char *const start =
        "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,"
        "\"model\":\"gpt-4o-mini\",\"choices\":[";
    char data[1024], framed[1200];
    int last = ++p->sent == p->events, size;
    if (last)
        size = sprintf(data, "%s],\"usage\":{\"prompt_tokens\":420,\"completion_tokens\":%d,\"total_tokens\":%d}}\n\n"
                             "data: [DONE]\n\n", start, p->events, p->events + 420);
    else
        size = sprintf(data, "%s{\"index\":0,\"delta\":{\"content\":\" water\"},\"logprobs\":null,\"finish_reason\":%s}]}\n\n",
                       start, p->sent == p->events - 1 ? "\"stop\"" : "null");
    int framed_bytes = sprintf(framed, "%x\r\n%s\r\n%s", size, data, last ? "0\r\n\r\n" : "");
    send_all(p->fd, framed, framed_bytes);
}

/* Whatever is due now. Returns whether the answer is complete. */
static int go_on(struct peer *p, long long now) {
    if (p->due_us > now) return 0;
    if (!p->stream) {
        send_all(p->fd, plain_answer, plain_bytes);
        return 1;
    }
    if (p->sent == 0) send_all(p->fd, stream_head, stream_head_bytes);
    while (p->sent < p->events) {
        send_event(p);
        if (p->gap_us && p->sent < p->events) {
            p->due_us += p->gap_us;
            if (p->due_us > now) return 0;
        }
    }
    return 1;
}

static void finish(struct peer *p) {
    p->waiting = 0;
    for (int i = 0; i < busy_count; i++)
        if (busy[i] == p) {
            busy[i] = busy[--busy_count];
            return;
        }
}

static long content_length(const char *head) {
    for (const char *line = strchr(head, '\n'); line; line = strchr(line + 1, '\n'))
        if (!strncasecmp(line + 1, "content-length:", 15)) return atol(line + 16);
    return 0;
}

/* Begin to answer every whole request in the buffer (one at a time; callers do not pipeline). */
static void take(struct peer *p) {
    while (!p->waiting) {
        p->in[p->used] = 0;
        char *blank = strstr(p->in, "\r\n\r\n");
        if (!blank) return;
        *blank = 0;
        int total = (int)(blank + 4 - p->in) + content_length(p->in);
        if (total > ROOM) die("request too large");
        int events = 16;
        long delay = 0, gap = 0;
        char *path = strchr(p->in, '/');
        if (path) sscanf(path, "/%ld.%d.%ld/", &delay, &events, &gap);
        *blank = '\r';
        if (p->used < total) return;
        char after = p->in[total];
        p->in[total] = 0;
        char *flag = strstr(blank + 4, "\"stream\"");
        p->stream = flag && !strncmp(flag + 8 + strspn(flag + 8, " :"), "true", 4);
        p->in[total] = after;
        memmove(p->in, p->in + total, p->used - total);
        p->used -= total;
        p->events = events < 3 ? 3 : events > MAX_EVENTS ? MAX_EVENTS : events;
        p->delay_us = delay;
        p->gap_us = gap;
        p->sent = 0;
        long long now = now_us();
        p->due_us = now + delay;
        if (go_on(p, now)) continue;
        p->waiting = 1;
        busy[busy_count++] = p;
    }
}

static void accept_all(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_FDS) die("too many connections");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct peer *p = peers[fd] ? peers[fd] : (peers[fd] = malloc(sizeof *p));
        if (!p) die("malloc");
        p->fd = fd;
        p->used = p->waiting = 0;
        struct epoll_event on = {.events = EPOLLIN, .data.ptr = p};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &on);
    }
}

static void read_some(struct peer *p) {
    ssize_t n = recv(p->fd, p->in + p->used, ROOM - p->used, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        if (p->waiting) finish(p);
        close(p->fd);
        return;
    }
    p->used += n;
    take(p);
}

static void read_answer(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) die(path);
    static char body[1 << 20];
    int size = fread(body, 1, sizeof body - 1, file);
    fclose(file);
    plain_bytes = asprintf(&plain_answer, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\n"
                                          "content-length: %d\r\n\r\n%.*s", size, size, body);
    stream_head_bytes = asprintf(&stream_head, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
                                               "x-request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n");
}

int main(int count, char **words) {
    if (count < 2) {
        fprintf(stderr, "usage: upstream ANSWER_FILE [PORT]\n");
        return 2;
    }
    read_answer(words[1]);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(count > 2 ? atoi(words[2]) : 0)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t at_size = sizeof at;
    if (bind(listener, (void *)&at, sizeof at) || listen(listener, 4096)) die("listen");
    getsockname(listener, (void *)&at, &at_size);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);

    poller = epoll_create1(0);
    struct epoll_event on = {.events = EPOLLIN, .data.ptr = NULL}, ready[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &on);
    for (;;) {
        struct timespec wait, *until = NULL;
        if (busy_count) {
            long long next = busy[0]->due_us;
            for (int i = 1; i < busy_count; i++)
                if (busy[i]->due_us < next) next = busy[i]->due_us;
            long long left = next - now_us();
            if (left < 0) left = 0;
            wait = (struct timespec){left / 1000000, left % 1000000 * 1000};
            until = &wait;
        }
        int n = epoll_pwait2(poller, ready, 256, until, NULL);
        for (int i = 0; i < n; i++) {
            if (ready[i].data.ptr) read_some(ready[i].data.ptr);
            else accept_all(listener);
        }
        long long now = busy_count ? now_us() : 0;
        for (int i = 0; i < busy_count;) {
            struct peer *p = busy[i];
            if (!go_on(p, now)) {
                i++;
                continue;
            }
            busy[i] = busy[--busy_count];
            p->waiting = 0;
            take(p); /* may append to `busy` */
        }
    }
}
