/* A disk whose flush takes as many microseconds longer as the file PEERS_FLUSH_FILE says (a long, in
 * the machine's order), for PostgreSQL to be started with (LD_PRELOAD). The file is mapped, so what
 * is written to it holds for the next flush. PostgreSQL flushes its log with fdatasync, and holds the
 * log's write lock meanwhile: whoever commits during a flush waits for the next one, as with a slow
 * disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const volatile long *pause_us;
static int (*flush)(int);

__attribute__((constructor)) static void prepare(void) {
    const char *path = getenv("PEERS_FLUSH_FILE");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *mapped = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        /* A flush that is not slow would be measured as one that is. */
        perror("PEERS_FLUSH_FILE");
        _exit(1);
    }
    pause_us = mapped;
    flush = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
}

int fdatasync(int fd) {
    struct timespec left = {*pause_us / 1000000, *pause_us % 1000000 * 1000};
    if (*pause_us)
        while (nanosleep(&left, &left) != 0)
            ;
    return flush(fd);
}
