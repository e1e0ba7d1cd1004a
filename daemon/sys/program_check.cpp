#include "daemon/sys/program_check.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "daemon/sys/clock.h"
#include "daemon/sys/keeper_protocol.h"
#include "daemon/sys/program_file.h"
#include "daemon/sys/self_test_run.h"

namespace mtd::sys {
namespace {

constexpr std::size_t kMostAnswer = 8192;
constexpr const char* kSupervisor = "mtd-supervisor";
// Both self-tests, and files that are slow to open.
constexpr Duration kCheckTime = Duration::seconds(30);

// In the answer: 'v' and the version, with both descriptors, or 'e' and the error.
struct Answer {
  std::string text;
  UniqueFd keeper, supervisor;
};

Result<UniqueFd> open_program(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!file) return Error::from_errno(path + " cannot be opened", errno);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return Error::from_errno(path + " cannot be read", errno);
  if (S_ISDIR(info.st_mode)) return Error{path + " is a directory"};
  if (!S_ISREG(info.st_mode)) return Error{path + " is not a regular file"};
  return file;
}

// Where the file really is: links may lead to the directory of a release.
std::string directory_of(const UniqueFd& file, const std::string& path) {
  std::array<char, 4096> real{};
  const std::string link = "/proc/self/fd/" + std::to_string(file.get());
  const ssize_t length = ::readlink(link.c_str(), real.data(), real.size());
  const std::string found =
      length > 0 ? std::string(real.data(), static_cast<std::size_t>(length)) : path;
  return found.substr(0, found.rfind('/') + 1);
}

Result<std::pair<UniqueFd, std::string>> find_supervisor(const std::string& directory) {
  const std::array<std::string, 3> paths{directory + kSupervisor,
                                         std::string(MTD_LIBEXECDIR "/") + kSupervisor,
                                         std::string("/usr/libexec/mtd/") + kSupervisor};
  for (const auto& path : paths) {
    if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) continue;
    auto file = open_program(path);
    if (!file) return file.error();
    return std::pair<UniqueFd, std::string>(std::move(*file), path);
  }
  return Error{paths[0] + " is missing, and " + paths[1] + " and " + paths[2] + " too"};
}

// What the file is says more than how its self-test ended, where that can be seen.
Error failure(const std::string& path, const UniqueFd& file, const Error& error) {
  const std::string misfit = misfit_of(file.get());
  return Error{misfit.empty() ? path + ": " + error.message : path + " " + misfit};
}

Result<std::string> check(const CheckRequest& request, Answer& answer) {
  auto keeper = open_program(request.keeper_path);
  if (!keeper) return keeper.error();
  auto supervisor = find_supervisor(directory_of(*keeper, request.keeper_path));
  if (!supervisor) return supervisor.error();
  const auto first = run_self_test(keeper->get(), "mtd", {}, {request.table.get()});
  if (!first) return failure(request.keeper_path, *keeper, first.error());
  const auto second = run_self_test(supervisor->first.get(), kSupervisor, request.arguments,
                                    {request.configuration.get(), request.state.get()});
  if (!second) return failure(supervisor->second, supervisor->first, second.error());
  if (first->version != second->version) {
    return Error{request.keeper_path + " is " + first->version + ", but " + supervisor->second +
                 " is " + second->version + ": install both of one release"};
  }
  if (first->protocol != second->protocol ||
      !keeper::speaks(static_cast<std::uint16_t>(second->protocol))) {
    return Error{first->version + " speaks protocol " + std::to_string(first->protocol) +
                 ", the running mtd protocol " + std::to_string(keeper::kProtocolVersion) +
                 ": too far for an upgrade in place; restart mtd"};
  }
  answer.keeper = std::move(*keeper);
  answer.supervisor = std::move(supervisor->first);
  return first->version;
}

void send_answer(int socket, const Answer& answer) {
  const std::string text = answer.text.substr(0, kMostAnswer);
  iovec part{const_cast<char*>(text.data()), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(2 * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (answer.keeper) {
    const std::array<int, 2> fds{answer.keeper.get(), answer.supervisor.get()};
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fds);
    std::memcpy(CMSG_DATA(head), fds.data(), sizeof fds);
  }
  (void)!::sendmsg(socket, &message, MSG_NOSIGNAL);
}

Result<Answer> receive_answer(int socket) {
  std::array<char, kMostAnswer> text{};
  iovec part{text.data(), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(2 * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t size = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (size <= 0) return Error{"the check of the new programs ended without an answer"};
  Answer answer;
  answer.text.assign(text.data(), static_cast<std::size_t>(size));
  const cmsghdr* const head = CMSG_FIRSTHDR(&message);
  if (head != nullptr && head->cmsg_type == SCM_RIGHTS &&
      head->cmsg_len == CMSG_LEN(2 * sizeof(int))) {
    std::array<int, 2> fds{-1, -1};
    std::memcpy(fds.data(), CMSG_DATA(head), sizeof fds);
    answer.keeper.reset(fds[0]);
    answer.supervisor.reset(fds[1]);
  }
  return answer;
}

// A client's connection that the caller closes must not stay open here.
void close_others(std::vector<int> kept) {
  std::sort(kept.begin(), kept.end());
  unsigned next = 3;
  for (const int fd : kept) {
    const auto number = static_cast<unsigned>(fd);
    if (number > next) ::syscall(SYS_close_range, next, number - 1, 0U);
    next = number + 1;
  }
  ::syscall(SYS_close_range, next, ~0U, 0U);
}

[[noreturn]] void run_child(const CheckRequest& request, int socket, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  close_others({socket, request.table.get(), request.configuration.get(), request.state.get()});
  Answer answer;
  const auto version = check(request, answer);
  answer.text = version ? "v" + *version : "e" + version.error().message;
  send_answer(socket, answer);
  ::_exit(0);
}

}  // namespace

struct ProgramCheck::State {
  pid_t pid = 0;  // ours until it is reaped
  UniqueFd socket;
  EventLoop::Watch watch;
  EventLoop::Timer timer;
  Done done;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { end(); }

  void end() {
    if (pid == 0) return;
    ::kill(pid, SIGKILL);
    // Reaped if it is dead at once; else the keeper reaps it after this process.
    ::waitpid(pid, nullptr, WNOHANG);
    pid = 0;
  }

  void finish(Result<CheckedPrograms> result) {
    watch = {};
    timer = {};
    socket.reset();
    const Done callback = std::exchange(done, nullptr);
    if (callback) callback(std::move(result));
  }

  void on_answer() {
    auto answer = receive_answer(socket.get());
    // It exits right after its answer.
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid = 0;
    if (!answer) return finish(answer.error());
    const std::string text = answer->text.substr(1);
    if (answer->text[0] != 'v') return finish(Error{text});
    if (!answer->keeper) return finish(Error{"no descriptor is left for the new programs", EMFILE});
    finish(CheckedPrograms{std::move(answer->keeper), std::move(answer->supervisor), text});
  }

  void on_deadline() {
    end();
    finish(Error{"the check of the new programs did not end within " +
                 format_duration_brief(kCheckTime) + "; is a disk stuck?"});
  }
};

ProgramCheck::ProgramCheck() = default;
ProgramCheck::ProgramCheck(ProgramCheck&&) noexcept = default;
ProgramCheck& ProgramCheck::operator=(ProgramCheck&&) noexcept = default;
ProgramCheck::~ProgramCheck() = default;

Result<ProgramCheck> ProgramCheck::start(EventLoop& loop, CheckRequest request, Done done) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return Error::from_errno("check the new programs", errno);
  auto state = std::make_shared<State>();
  state->socket.reset(ends[0]);
  const UniqueFd childs_end(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return Error::from_errno("check the new programs", errno);
  if (child == 0) run_child(request, childs_end.get(), parent);
  state->pid = child;
  state->done = std::move(done);
  State* const self = state.get();
  auto watch = loop.watch(state->socket.get(), EPOLLIN, Priority::normal,
                          [self](std::uint32_t) { self->on_answer(); });
  if (!watch) return watch.error();
  state->watch = std::move(*watch);
  auto timer = loop.timer(Priority::normal, [self] { self->on_deadline(); });
  if (!timer) return timer.error();
  state->timer = std::move(*timer);
  state->timer.arm(now() + kCheckTime);
  ProgramCheck started;
  started.state_ = std::move(state);
  return started;
}

}  // namespace mtd::sys
