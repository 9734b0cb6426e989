/* A disk whose flush takes PEERS_FLUSH_US microseconds longer, for PostgreSQL to be started with
 * (LD_PRELOAD). PostgreSQL flushes its log with fdatasync, and holds the log's write lock meanwhile:
 * whoever commits during a flush waits for the next one, as with a slow disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static struct timespec pause_for;
static int (*flush)(int);

__attribute__((constructor)) static void prepare(void) {
    const char *text = getenv("PEERS_FLUSH_US");
    long us = text ? atol(text) : 0;
    pause_for.tv_sec = us / 1000000;
    pause_for.tv_nsec = us % 1000000 * 1000;
    flush = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
}

int fdatasync(int fd) {
    struct timespec left = pause_for;
    while (nanosleep(&left, &left) != 0)
        ;
    return flush(fd);
}
