// From one keeper to the next, by execve: same process, same children, another program.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "daemon/keeper/keeper.h"
#include "daemon/keeper/line.h"
#include "daemon/keeper/table_image.h"

namespace mtd::keeper {
namespace {

// Executes `program` with the command line and environment of this one, and the variable that says
// where the image is, where the program that wrote it is, and whether it is executed back.
void execute(const Settings& settings, int program, int image, int writer, bool back,
             const char** environment) {
  Line variable;
  variable.put(kHandoverVariable).number(image).put(",").number(writer).put(back ? ",1" : ",0");
  const char** to = environment;
  for (char** from = settings.role_environment; *from != nullptr; ++from)
    *to++ = *from;
  *to++ = variable.text();
  *to = nullptr;
  syscall(SYS_execveat, program, "", settings.argv, environment, AT_EMPTY_PATH);
}

// The pointers to the variables take the child's scratch memory.
constexpr std::size_t kMostVariables = kScratchBytes / sizeof(char*) - 2;

bool fits(const Settings& settings) {
  std::size_t count = 0;
  while (settings.role_environment[count] != nullptr)
    ++count;
  return count < kMostVariables;
}

// Back to the keeper that wrote the image; it cannot refuse it.
bool refuse(const Settings& settings, int image, int writer, bool back, const char* reason) {
  complain("the process table cannot be taken over", 0);
  complain(reason, 0);
  Table scratch;
  if (back || !scratch.map(1) || !fits(settings)) return false;
  execute(settings, writer, image, writer, true, reinterpret_cast<const char**>(scratch.scratch));
  complain("the former program cannot be executed", errno);
  return false;
}

void adopt(Keeper& keeper) {
  Role& role = keeper.role;
  keeper.now_ns = clock_ns(CLOCK_MONOTONIC);
  keeper.next_scan_ns = keeper.now_ns;  // SIGCHLDs that came meanwhile
  role.spare = fcntl(keeper.settings.null_fd, F_DUPFD_CLOEXEC, 0);
  role.orphans_wanted = keeper.orphans.total > 0;
}

}  // namespace

UpgradeFault hand_over(Keeper& keeper, int& error) {
  const Settings& settings = keeper.settings;
  int image = make_image(keeper);
  if (image < 0 || !fits(settings)) {
    error = image < 0 ? errno : E2BIG;
    close_fd(image);
    return UpgradeFault::no_image;
  }
  (void)set_inheritable(keeper, true);
  fcntl(image, F_SETFD, 0);
  execute(settings, keeper.upgrade.new_keeper, image, settings.own_program, false,
          reinterpret_cast<const char**>(keeper.table.scratch));
  error = errno;
  close_fd(image);
  (void)set_inheritable(keeper, false);
  return UpgradeFault::not_executed;
}

bool take_over(Keeper& keeper, const char* word) {
  Settings& settings = keeper.settings;
  char* end = nullptr;
  int image = static_cast<int>(std::strtol(word, &end, 10));
  const int writer = *end == ',' ? static_cast<int>(std::strtol(end + 1, &end, 10)) : -1;
  const bool back = std::strcmp(end, ",1") == 0;
  const char* wrong = read_image_file(image, keeper);
  if (wrong == nullptr && !set_inheritable(keeper, true)) wrong = "a descriptor is not open";
  if (wrong == nullptr && !open_loop(keeper)) wrong = "signals and events cannot be watched";
  if (wrong == nullptr && keeper.role.socket >= 0 &&
      !watch(keeper, keeper.role.socket, Watched::role_socket, 0, EPOLLIN)) {
    wrong = "the supervisor's socket cannot be watched";
  }
  if (wrong != nullptr) return refuse(settings, image, writer, back, wrong);
  (void)set_inheritable(keeper, false);  // from here on nothing is refused
  close_fd(image);
  prctl(PR_SET_NAME, "mtd");  // execveat leaves the number of the descriptor
  adopt(keeper);
  if (back) {
    fail_upgrade(keeper, UpgradeFault::table_refused, 0);
  } else {
    finish_upgrade(keeper);
  }
  return true;
}

int self_test() {
  constexpr int kImage = 3;
  Keeper keeper;
  const char* wrong = nullptr;
  if (fcntl(kImage, F_GET_SEALS) >= 0) {
    wrong = read_image_file(kImage, keeper);
  } else if (!keeper.table.map(1024)) {
    wrong = "no memory for a table";
  }
  int image = wrong == nullptr ? make_image(keeper) : -1;
  if (wrong == nullptr && (image < 0 || !open_loop(keeper))) wrong = "no memory file, no events";
  Keeper copy;
  if (wrong == nullptr) wrong = read_image_file(image, copy);
  if (wrong != nullptr) {
    complain("the process table cannot be taken over", 0);
    complain(wrong, 0);
    return 1;
  }
  Line line;
  line.put("mtd ").put(kVersion).put(" protocol ").count(kProtocolVersion).put("\n");
  return write(1, line.text(), line.size()) == static_cast<ssize_t>(line.size()) ? 0 : 1;
}

}  // namespace mtd::keeper
