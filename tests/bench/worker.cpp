// The benchmark's worker: as small as a process can be, so that what is measured is the supervisor.
// Only the C library is used; it is built static, with musl where that is installed.
//
//   bench-worker LOG ID      appends a record {u64 CLOCK_MONOTONIC ns, u32 pid, u32 id} and sleeps
//   bench-worker LOG ./run   the same, as interpreter of a service directory's `run`; its id is the
//                            number that ends the working directory's name
//   bench-worker -g LOG ID   first leaves a grandchild: forked twice, in a session of its own
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct Record {
  uint64_t started_ns;
  uint32_t pid;
  uint32_t id;
};

static uint64_t monotonic_ns() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint32_t id_of(const char* argument) {
  char directory[1024];
  if (argument[0] != '.') return (uint32_t)atoi(argument);
  if (getcwd(directory, sizeof directory) == NULL) return 0;
  const char* digits = directory + strlen(directory);
  while (digits > directory && digits[-1] >= '0' && digits[-1] <= '9')
    --digits;
  return (uint32_t)atoi(digits);
}

static void leave_grandchild() {
  if (fork() == 0) {
    setsid();
    if (fork() != 0) _exit(0);
    for (;;)
      pause();
  }
  wait(NULL);
}

int main(int argc, char** argv) {
  int first = 1;
  if (argc > 1 && strcmp(argv[1], "-g") == 0) {
    leave_grandchild();
    first = 2;
  }
  if (argc < first + 2) return 2;
  const Record record = {monotonic_ns(), (uint32_t)getpid(), id_of(argv[first + 1])};
  const int log = open(argv[first], O_WRONLY | O_APPEND | O_CLOEXEC);
  if (log < 0 || write(log, &record, sizeof record) != (ssize_t)sizeof record) return 1;
  close(log);
  for (;;)
    pause();
}
