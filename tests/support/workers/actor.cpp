// A worker that does as its command line says, word by word, so that a test can stage any
// behaviour.
//
//   notify=TEXT   sends TEXT to NOTIFY_SOCKET ("\n" is written as ;)
//   report=TEXT   sends {"pid","ppid","worker","incarnation","what":TEXT} to the socket named by
//   REPORT ignore=N      ignores signal N           raise=N   dies of signal N, with default action
//   exit=N        exits with N               sleep=MS
//   child         forks a child that sleeps for ever and ignores TERM
//   daemon        forks twice with a session of its own in between; the grandchild ignores TERM,
//   HUP and
//                 INT, reports "daemon", sleeps for ever
//   storm=N       forks N orphans that exit at once
//   fork-on-term  on TERM forks one more daemon before it exits
//   close-output  closes stdout and stderr
//   memory=MIB    takes so much, and touches all of it
//   feed=MS       says WATCHDOG=1 and reports "fed" so often, for ever
//   on-abrt=N     exits with N on ABRT, after it has reported "abrt"
//   wait          sleeps for ever; USR1 counts a task (X_MTD_TASKS=+1, reports "task"), USR2 says
//                 READY=1 and writes a newline to MTD_READY_FD, HUP reports "hup", RTMIN and
//                 RTMIN+1 say X_MTD_BUSY=1 and 0, TERM exits 0
// After the last word it exits with 0.
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

void send_to(const char* path, const std::string& text) {
  if (path == nullptr) return;
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  if (sendto(fd, text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&address),
             sizeof address) < 0) {
    std::perror(path);
  }
  close(fd);
}

std::string env(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

void report(const std::string& what) {
  send_to(std::getenv("REPORT"), "{\"pid\":" + std::to_string(getpid()) +
                                     ",\"ppid\":" + std::to_string(getppid()) + ",\"worker\":\"" +
                                     env("MTD_WORKER") + "\",\"incarnation\":\"" +
                                     env("MTD_INCARNATION") + "\",\"what\":\"" + what + "\"}");
}

void notify(std::string text) {
  for (char& c : text)
    c = c == ';' ? '\n' : c;
  send_to(std::getenv("NOTIFY_SOCKET"), text);
}

void write_newline() {
  const std::string number = env("MTD_READY_FD");
  if (!number.empty() && write(std::atoi(number.c_str()), "\n", 1) != 1)
    std::perror("MTD_READY_FD");
}

void take_memory(int mib) {
  const auto size = static_cast<std::size_t>(mib) << 20U;
  auto* const memory = static_cast<volatile char*>(std::malloc(size));
  for (std::size_t at = 0; memory != nullptr && at < size; at += 4096)
    memory[at] = 1;
}

[[noreturn]] void feed(int ms) {
  for (;;) {
    notify("WATCHDOG=1");
    report("fed");
    usleep(static_cast<useconds_t>(ms) * 1000);
  }
}

int code_on_abrt = 0;
void on_abrt(int) {
  report("abrt");
  _exit(code_on_abrt);
}

[[noreturn]] void sleep_for_ever() {
  for (;;)
    pause();
}

void leave_daemon() {
  const pid_t child = fork();
  if (child == 0) {
    setsid();
    if (fork() != 0) _exit(0);
    for (const int number : {SIGTERM, SIGHUP, SIGINT})
      std::signal(number, SIG_IGN);
    report("daemon");
    sleep_for_ever();
  }
  waitpid(child, nullptr, 0);
}

void storm(int count) {
  for (int i = 0; i < count; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      if (fork() == 0) _exit(i % 256);
      _exit(0);
    }
    if (child > 0) waitpid(child, nullptr, 0);
  }
  report("storm over");
}

[[noreturn]] void die_of(int number) {
  std::signal(number, SIG_DFL);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_UNBLOCK, &all, nullptr);
  raise(number);
  _exit(99);
}

// What a test asks for by a signal as soon as it has heard of this worker waits until it serves.
void keep_requests(int argc, char** argv) {
  if (std::none_of(argv, argv + argc, [](const char* word) { return std::string(word) == "wait"; }))
    return;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGUSR2);
  sigprocmask(SIG_BLOCK, &set, nullptr);
}

[[noreturn]] void serve(bool fork_on_term, bool obeys_term) {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGUSR1, SIGUSR2, SIGHUP, SIGRTMIN, SIGRTMIN + 1})
    sigaddset(&set, number);
  if (obeys_term) sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  report("waiting");
  for (;;) {
    const int got = sigwaitinfo(&set, nullptr);
    if (got == SIGRTMIN || got == SIGRTMIN + 1)
      notify(got == SIGRTMIN ? "X_MTD_BUSY=1" : "X_MTD_BUSY=0");
    switch (got) {
      case SIGUSR1:
        notify("X_MTD_TASKS=+1");
        report("task");
        break;
      case SIGUSR2:
        notify("READY=1");
        write_newline();
        break;
      case SIGHUP:
        report("hup");
        break;
      case SIGTERM:
        if (fork_on_term) leave_daemon();
        report("term");
        _exit(0);
      default:
        break;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  bool fork_on_term = false;
  bool obeys_term = true;
  keep_requests(argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto equals = word.find('=');
    const std::string verb = word.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
    const int number = std::atoi(value.c_str());
    if (verb == "notify") {
      notify(value);
    } else if (verb == "report") {
      report(value);
    } else if (verb == "ignore") {
      std::signal(number, SIG_IGN);
      obeys_term = obeys_term && number != SIGTERM;
    } else if (verb == "raise") {
      die_of(number);
    } else if (verb == "exit") {
      _exit(number);
    } else if (verb == "sleep") {
      usleep(static_cast<useconds_t>(number) * 1000);
    } else if (verb == "child") {
      if (fork() == 0) {
        std::signal(SIGTERM, SIG_IGN);
        sleep_for_ever();
      }
    } else if (verb == "daemon") {
      leave_daemon();
    } else if (verb == "storm") {
      storm(number);
    } else if (verb == "fork-on-term") {
      fork_on_term = true;
    } else if (verb == "close-output") {
      close(1);
      close(2);
    } else if (verb == "memory") {
      take_memory(number);
    } else if (verb == "feed") {
      feed(number);
    } else if (verb == "on-abrt") {
      code_on_abrt = number;
      std::signal(SIGABRT, on_abrt);
    } else if (verb == "wait") {
      serve(fork_on_term, obeys_term);
    } else {
      std::fprintf(stderr, "actor: unknown word %s\n", word.c_str());
      return 98;
    }
  }
  return 0;
}
