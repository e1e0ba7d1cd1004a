// A worker that keeps a journal of the truth: what a supervisor claims about it can be compared.
//
//   recorder JOURNAL long   writes "start", then numbered lines to JOURNAL.lines.POOL-SLOT, for
//   ever recorder JOURNAL short  writes "start", lives 5 to 80 ms, writes how it is going to end,
//   and ends
//                           so: by a random exit code or signal. While JOURNAL.park exists it
//                           writes "parked" instead and waits.
//
// A line of the journal: WHAT WORKER INCARNATION PID [exit CODE | signal NUMBER]; one write each.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

namespace {

std::string env(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

void append(const std::string& path, const std::string& line) {
  const int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0 || write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    std::perror(path.c_str());
    _exit(97);
  }
  close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 98;
  const std::string journal = argv[1];
  const std::string worker = env("MTD_WORKER");
  const std::string who =
      " " + worker + " " + env("MTD_INCARNATION") + " " + std::to_string(getpid());
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  std::srand(static_cast<unsigned>(now.tv_nsec ^ getpid()));
  append(journal, "start" + who + "\n");

  if (std::string(argv[2]) == "long") {
    std::string lines = worker;
    lines[lines.find('/')] = '-';
    for (unsigned long number = 0;; ++number) {
      append(journal + ".lines." + lines,
             std::to_string(getpid()) + " " + std::to_string(number) + "\n");
      usleep(5000);
    }
  }
  if (access((journal + ".park").c_str(), F_OK) == 0) {
    append(journal, "parked" + who + "\n");
    for (;;)
      pause();
  }
  usleep(static_cast<useconds_t>(5000 + std::rand() % 75000));
  constexpr int kSignals[] = {SIGABRT, SIGKILL, SIGSEGV, SIGTERM, SIGUSR1, SIGALRM};
  const int choice = std::rand() % 256;
  if (choice % 3 != 0) {
    append(journal, "end" + who + " exit " + std::to_string(choice) + "\n");
    _exit(choice);
  }
  const int number = kSignals[choice % 6];
  append(journal, "end" + who + " signal " + std::to_string(number) + "\n");
  std::signal(number, SIG_DFL);
  raise(number);
  _exit(99);
}
