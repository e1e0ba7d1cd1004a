// bare: the least that can be called a supervisor, and so the kernel's own price of one: vfork,
// exec, blocking waitpid, respawn. It keeps no state, writes no log, answers nobody.
//
//   bench-bare COUNT WORKER LOG     TERM ends all workers, and then itself
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <unordered_map>

namespace {

volatile sig_atomic_t stop_asked = 0;

void ask_stop(int) {
  stop_asked = 1;
}

// Everything the child needs is made before vfork: it shares our memory until exec.
pid_t spawn(const char* worker, const char* log, const std::string& id) {
  const char* const argv[] = {worker, log, id.c_str(), nullptr};
  const char* const environment[] = {nullptr};
  const pid_t pid = vfork();
  if (pid == 0) {
    execve(worker, const_cast<char* const*>(argv), const_cast<char* const*>(environment));
    _exit(127);
  }
  return pid;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const int count = std::atoi(argv[1]);
  struct sigaction action {};
  action.sa_handler = ask_stop;  // without SA_RESTART: waitpid has to come back
  sigaction(SIGTERM, &action, nullptr);

  std::unordered_map<pid_t, int> slots;
  slots.reserve(static_cast<std::size_t>(count) * 2);
  for (int slot = 0; slot < count; ++slot) {
    slots[spawn(argv[2], argv[3], std::to_string(slot))] = slot;
  }
  while (stop_asked == 0) {
    const pid_t pid = waitpid(-1, nullptr, 0);
    const auto found = slots.find(pid);
    if (pid <= 0 || found == slots.end()) continue;
    const int slot = found->second;
    slots.erase(found);
    slots[spawn(argv[2], argv[3], std::to_string(slot))] = slot;
  }
  for (const auto& entry : slots)
    kill(entry.first, SIGTERM);
  for (std::size_t left = slots.size(); left > 0;) {
    if (waitpid(-1, nullptr, 0) > 0) {
      --left;
    } else if (errno != EINTR) {
      break;
    }
  }
  return 0;
}
