/* Load on one HTTP address, and what it felt like.
 *
 * usage: load PORT PATH BODY_FILE CONNECTIONS RATE SECONDS REQUESTS [HEADER]...
 *
 * RATE 0: closed loop, every connection sends its next request when it has its answer.
 * RATE > 0: open loop, a request is due every 1/RATE seconds whatever happens to the others; latency counts from the
 *           moment it was due, so a server that stalls cannot hide the requests that it kept waiting.
 * Ends after SECONDS, or after REQUESTS if that is not 0. An answer counts if its status is 200, its framing is whole,
 * and a streamed one ends in [DONE]. Prints one line of JSON; times are microseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_ROOM = 16384, READ_ROOM = 1 << 18, GRACE_US = 20000000 };
enum part { HEAD, PLAIN, SIZE, EXTENSION, DATA, AFTER_DATA, TRAILER, WHOLE, WRONG };

struct line {
    int fd, in_use;
    enum part part;
    int head_bytes, status, event_stream, blank_so_far;
    long long left; /* bytes of the body, or of the chunk */
    long long due_us, first_us;
    char tail[16]; /* the last bytes of the body */
    int tail_bytes;
    char head[HEAD_ROOM];
};

static int port, poller;
static char *request;
static int request_bytes;
static unsigned *latency_us, *first_byte_us;
static long taken, room, answered, failed, reconnected;
static long long received;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static long long now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void dial(struct line *l) {
    int one = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    l->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (l->fd < 0 || connect(l->fd, (void *)&to, sizeof to)) die("connect");
    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event on = {.events = EPOLLIN, .data.ptr = l};
    epoll_ctl(poller, EPOLL_CTL_ADD, l->fd, &on);
}

static void ask(struct line *l, long long due_us) {
    l->in_use = 1;
    l->part = HEAD;
    l->head_bytes = l->tail_bytes = 0;
    l->due_us = due_us;
    l->first_us = 0;
    if (send(l->fd, request, request_bytes, MSG_NOSIGNAL) != request_bytes) {
        close(l->fd); /* closed while idle: a fresh connection, once */
        reconnected++;
        dial(l);
        if (send(l->fd, request, request_bytes, MSG_NOSIGNAL) != request_bytes) l->part = WRONG;
    }
}

static void keep_tail(struct line *l, const char *data, long long size) {
    int most = sizeof l->tail;
    if (size >= most) {
        memcpy(l->tail, data + size - most, most);
        l->tail_bytes = most;
        return;
    }
    int keep = l->tail_bytes + size > most ? most - (int)size : l->tail_bytes;
    memmove(l->tail, l->tail + l->tail_bytes - keep, keep);
    memcpy(l->tail + keep, data, size);
    l->tail_bytes = keep + size;
}

static const char *field(const char *head, const char *name) {
    size_t n = strlen(name);
    for (const char *at = strchr(head, '\n'); at; at = strchr(at + 1, '\n'))
        if (!strncasecmp(at + 1, name, n) && at[n + 1] == ':') return at + n + 2 + strspn(at + n + 2, " ");
    return NULL;
}

/* Copies into the head until it is whole. Returns how many bytes it took. */
static long read_head(struct line *l, const char *data, long size) {
    long take = size < HEAD_ROOM - 1 - l->head_bytes ? size : HEAD_ROOM - 1 - l->head_bytes;
    int before = l->head_bytes;
    memcpy(l->head + before, data, take);
    l->head[before + take] = 0;
    char *end = strstr(l->head + (before > 3 ? before - 3 : 0), "\r\n\r\n");
    if (!end) {
        l->head_bytes += take;
        if (l->head_bytes >= HEAD_ROOM - 1) l->part = WRONG;
        return take;
    }
    end[2] = 0;
    l->status = atoi(l->head + 9);
    const char *kind = field(l->head, "content-type"), *size_said = field(l->head, "content-length");
    const char *coding = field(l->head, "transfer-encoding");
    l->event_stream = kind && !strncasecmp(kind, "text/event-stream", 17);
    if (coding && !strncasecmp(coding, "chunked", 7)) {
        l->part = SIZE;
        l->left = 0;
    } else if (size_said) {
        l->left = atoll(size_said);
        l->part = l->left ? PLAIN : WHOLE;
    } else {
        l->part = WRONG;
    }
    return end + 4 - (l->head + before);
}

static void feed(struct line *l, const char *data, long size) {
    const char *end = data + size;
    while (data < end && l->part < WHOLE) {
        long n;
        switch (l->part) {
        case HEAD:
            data += read_head(l, data, end - data);
            break;
        case PLAIN:
        case DATA:
            n = end - data < l->left ? end - data : l->left;
            keep_tail(l, data, n);
            data += n;
            l->left -= n;
            if (!l->left) l->part = l->part == PLAIN ? WHOLE : AFTER_DATA;
            break;
        case SIZE:
            if (isxdigit((unsigned char)*data)) {
                l->left = l->left * 16 + (*data <= '9' ? *data - '0' : (*data | 32) - 'a' + 10);
                data++;
            } else
                l->part = EXTENSION;
            break;
        case EXTENSION: /* to the end of the line */
            if (*data++ == '\n') {
                l->part = l->left ? DATA : TRAILER;
                l->blank_so_far = 1;
            }
            break;
        case AFTER_DATA:
            if (*data++ == '\n') l->part = SIZE;
            break;
        case TRAILER:
            if (*data == '\n') {
                if (l->blank_so_far) l->part = WHOLE;
                l->blank_so_far = 1;
            } else if (*data != '\r')
                l->blank_so_far = 0;
            data++;
            break;
        default:
            break;
        }
    }
    if (data < end) l->part = WRONG; /* bytes after the answer that nobody asked for */
}

static void note(struct line *l, long long now) {
    static const char done[] = "data: [DONE]\n\n";
    int n = sizeof done - 1;
    int good = l->part == WHOLE && l->status == 200 &&
               (!l->event_stream || (l->tail_bytes >= n && !memcmp(l->tail + l->tail_bytes - n, done, n)));
    if (good) answered++;
    else if (!failed++) fprintf(stderr, "load: first failure: part %d status %d: %.300s\n", l->part, l->status, l->head);
    if (taken == room) {
        room = room ? room * 2 : 1 << 16;
        latency_us = realloc(latency_us, room * sizeof *latency_us);
        first_byte_us = realloc(first_byte_us, room * sizeof *first_byte_us);
        if (!latency_us || !first_byte_us) die("realloc");
    }
    latency_us[taken] = now - l->due_us;
    first_byte_us[taken++] = (l->first_us ? l->first_us : now) - l->due_us;
    l->in_use = 0;
}

static int by_size(const void *a, const void *b) {
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return (x > y) - (x < y);
}

/* Nearest rank. */
static unsigned at_share(const unsigned *sorted, double share) {
    long rank = share * taken;
    return taken ? sorted[rank < taken ? rank : taken - 1] : 0;
}

static void build(int count, char **words) {
    FILE *file = fopen(words[3], "r");
    if (!file) die(words[3]);
    static char body[1 << 20];
    int size = fread(body, 1, sizeof body, file);
    fclose(file);
    request = malloc(size + 65536);
    if (!request) die("malloc");
    int n = sprintf(request, "POST %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\n"
                             "accept: */*\r\nuser-agent: bench\r\n", words[2], port);
    for (int i = 8; i < count; i++) n += snprintf(request + n, 8192, "%s\r\n", words[i]);
    n += sprintf(request + n, "content-length: %d\r\n\r\n", size);
    memcpy(request + n, body, size);
    request_bytes = n + size;
}

int main(int count, char **words) {
    if (count < 8) {
        fprintf(stderr, "usage: load PORT PATH BODY_FILE CONNECTIONS RATE SECONDS REQUESTS [HEADER]...\n");
        return 2;
    }
    port = atoi(words[1]);
    build(count, words);
    long connections = atol(words[4]), most = atol(words[7]);
    double rate = atof(words[5]), seconds = atof(words[6]);
    poller = epoll_create1(0);
    struct line *lines = calloc(connections, sizeof *lines), **idle = malloc(connections * sizeof *idle);
    if (!lines || !idle) die("malloc");
    long idle_count = 0, begun = 0, in_flight = 0;
    for (long i = 0; i < connections; i++) {
        dial(lines + i);
        idle[idle_count++] = lines + i;
    }
    static char in[READ_ROOM];
    struct epoll_event ready[256];
    long long start = now_us(), end = start + (long long)(seconds * 1e6);
    for (;;) {
        long long now = now_us();
        int over = now >= end || (most && begun >= most);
        if ((over && !in_flight) || now > end + GRACE_US) break;
        long long wait = over ? 50000 : rate > 0 ? start + (long long)(begun * 1e6 / rate) - now : 50000;
        while (!over && idle_count && (rate <= 0 || wait <= 0)) {
            /* open loop: `begun` requests are due up to now; those without a free connection keep their due time */
            ask(idle[--idle_count], rate > 0 ? start + (long long)(begun * 1e6 / rate) : now);
            begun++;
            in_flight++;
            over = most && begun >= most;
            wait = rate > 0 ? start + (long long)(begun * 1e6 / rate) - now : 50000;
        }
        if (wait <= 0) wait = idle_count ? 0 : 50000; /* due, but every connection is busy: wait for an answer */
        struct timespec until = {wait / 1000000, wait % 1000000 * 1000};
        int n = epoll_pwait2(poller, ready, 256, &until, NULL);
        for (int i = 0; i < n; i++) {
            struct line *l = ready[i].data.ptr;
            ssize_t size = recv(l->fd, in, sizeof in, MSG_DONTWAIT);
            if (size < 0 && errno == EAGAIN) continue;
            long long at = now_us();
            if (size <= 0) {
                close(l->fd);
                dial(l);
                reconnected++;
                if (!l->in_use) continue;
                l->part = WRONG;
            } else if (l->in_use) {
                received += size;
                if (!l->first_us) l->first_us = at;
                feed(l, in, size);
                if (l->part < WHOLE) continue;
            } else
                continue;
            note(l, at);
            in_flight--;
            if (rate <= 0 && at < end && !(most && begun >= most)) {
                ask(l, at);
                begun++;
                in_flight++;
            } else
                idle[idle_count++] = l;
        }
    }
    double wall = (now_us() - start) / 1e6;
    qsort(latency_us, taken, sizeof *latency_us, by_size);
    qsort(first_byte_us, taken, sizeof *first_byte_us, by_size);
    long due = rate > 0 && !most ? (long)(seconds * rate) : begun;
    printf("{\"requests\":%ld,\"answered\":%ld,\"failed\":%ld,\"unanswered\":%ld,\"never_sent\":%ld,\"reconnected\":%ld,"
           "\"seconds\":%.3f,\"per_second\":%.1f,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u,\"first_byte_p50_us\":%u,"
           "\"first_byte_p99_us\":%u,\"bytes\":%lld}\n",
           taken, answered, failed, in_flight, due > begun ? due - begun : 0, reconnected, wall, taken / wall,
           at_share(latency_us, .5), at_share(latency_us, .99), taken ? latency_us[taken - 1] : 0,
           at_share(first_byte_us, .5), at_share(first_byte_us, .99), received);
    return 0;
}
