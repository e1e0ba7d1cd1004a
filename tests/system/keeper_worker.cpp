// A small worker for the keeper's tests. keeper_worker exit N | kill N | sleep | fds FD TEXT | core
// | ignore (TERM) | eat MB | storm N (double forks) | probe (prints the state it was born with).
#include <dirent.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

std::uint64_t ignored_signals() {
  std::uint64_t set = 0;
  for (int number = 1; number <= 64; ++number) {
    struct {
      void* handler;
      unsigned long flags;
      void* restorer;
      std::uint64_t mask;
    } action{};
    syscall(SYS_rt_sigaction, number, nullptr, &action, sizeof action.mask);
    if (action.handler == reinterpret_cast<void*>(1)) set |= std::uint64_t{1} << (number - 1);
  }
  return set;
}

void print_descriptors() {
  std::printf("fds");
  for (int fd = 0; fd < 4096; ++fd) {
    struct stat status {};
    if (fstat(fd, &status) != 0) continue;
    std::printf(" %d:%c", fd, S_ISCHR(status.st_mode) && status.st_rdev == 0x103 ? 'n' : 'o');
  }
  std::printf("\n");
}

int probe(char** environment) {
  std::uint64_t blocked = 0;
  syscall(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, &blocked, sizeof blocked);
  int death = 0;
  prctl(PR_GET_PDEATHSIG, &death);
  char directory[4096] = {};
  if (getcwd(directory, sizeof directory) == nullptr) return 1;
  const mode_t mask = umask(0);
  umask(mask);
  std::printf("blocked %lx\nignored %lx\n", static_cast<unsigned long>(blocked),
              static_cast<unsigned long>(ignored_signals()));
  std::printf("session %d\ngroup %d\n", getsid(0) == getpid(), getpgid(0) == getpid());
  std::printf("umask %o\ncwd %s\n", mask, directory);
  std::printf("ids %u %u %u %u\n", getuid(), geteuid(), getgid(), getegid());
  gid_t groups[64];
  const int count = getgroups(64, groups);
  std::printf("groups");
  for (int i = 0; i < count; ++i)
    std::printf(" %u", groups[i]);
  rlimit files{}, core{};
  getrlimit(RLIMIT_NOFILE, &files);
  getrlimit(RLIMIT_CORE, &core);
  std::printf("\nnofile %lu\ncore %lu\nnice %d\n", files.rlim_cur, core.rlim_cur,
              getpriority(PRIO_PROCESS, 0));
  std::printf("slack %d\npdeathsig %d\nsubreaper ", prctl(PR_GET_TIMERSLACK), death);
  int subreaper = 0;
  prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
  std::printf("%d\n", subreaper);
  char score[16] = "none\n";
  if (FILE* file = std::fopen("/proc/self/oom_score_adj", "re")) {
    if (std::fgets(score, sizeof score, file) == nullptr) score[0] = '\n';
    std::fclose(file);
  }
  std::printf("oom %s", score);
  print_descriptors();
  for (; *environment != nullptr; ++environment)
    std::printf("env %s\n", *environment);
  return 0;
}

int storm(int count) {
  for (int i = 0; i < count; ++i) {
    const pid_t middle = fork();
    if (middle == 0) {
      if (fork() == 0) _exit(0);
      _exit(0);
    }
    int status = 0;
    if (middle > 0) waitpid(middle, &status, 0);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv, char** environment) {
  if (argc < 2) return 100;
  const char* what = argv[1];
  const int number = argc > 2 ? std::atoi(argv[2]) : 0;
  if (std::strcmp(what, "exit") == 0) return number;
  if (std::strcmp(what, "kill") == 0) {
    if (argc > 3) {  // a byte on this descriptor is the permission: exec has been seen by then
      char byte = 0;
      if (read(std::atoi(argv[3]), &byte, 1) != 1) return 101;
    }
    syscall(SYS_kill, getpid(), number);  // raise() refuses 32 and 33
    return 0;
  }
  if (std::strcmp(what, "sleep") == 0) {
    for (;;)
      pause();
  }
  if (std::strcmp(what, "ignore") == 0) {
    std::signal(SIGTERM, SIG_IGN);
    if (argc > 2 && write(number, "i", 1) != 1) return 103;
    for (;;)
      pause();
  }
  if (std::strcmp(what, "eat") == 0) {  // megabytes, whatever the compiler thinks of unread memory
    constexpr std::size_t kPage = 4096, kMegabyte = 1 << 20;
    for (int i = 0; i < number; ++i) {
      auto* const volatile memory = static_cast<volatile char*>(std::malloc(kMegabyte));
      for (std::size_t at = 0; memory != nullptr && at < kMegabyte; at += kPage)
        memory[at] = 1;
    }
    return 104;
  }
  if (std::strcmp(what, "say") == 0 && argc > 3) {
    return write(number, argv[3], std::strlen(argv[3])) > 0 ? 0 : 1;
  }
  if (std::strcmp(what, "probe") == 0) return probe(environment);
  if (std::strcmp(what, "storm") == 0) return storm(number);
  return 102;
}
