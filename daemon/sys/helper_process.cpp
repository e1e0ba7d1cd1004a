#include "daemon/sys/helper_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include "common/unique_fd.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/memfd.h"

namespace mtd::sys {
namespace {

constexpr int kAnswerFd = 3;
constexpr int kLifeFd = 4;  // closed by the child's end, whatever ends it

[[noreturn]] void run_child(int answer, int life, pid_t parent, const HelperProcess::Work& work) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null) ::dup2(null.get(), 0);
  // By way of high numbers: either may be the other's target already.
  const int high_answer = ::fcntl(answer, F_DUPFD, kLifeFd + 1);
  const int high_life = ::fcntl(life, F_DUPFD, kLifeFd + 1);
  if (::dup2(high_answer, kAnswerFd) < 0 || ::dup2(high_life, kLifeFd) < 0) ::_exit(1);
  ::syscall(SYS_close_range, kLifeFd + 1, ~0U, 0U);
  const std::string text = work();
  ::_exit(write_at(kAnswerFd, 0, text) ? 0 : 1);
}

}  // namespace

struct HelperProcess::State {
  pid_t pid = 0;  // ours until it is reaped, so it cannot be anyone else's
  UniqueFd life;  // reads end of file once the child has ended
  UniqueFd answer;
  EventLoop::Watch watch;
  EventLoop::Timer timer;
  Done done;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (pid == 0) return;
    ::kill(pid, SIGKILL);
    // Reaped if it is dead at once; else the keeper reaps it after this process.
    ::waitpid(pid, nullptr, WNOHANG);
  }

  void finish(Result<std::string> result) {
    watch = {};
    timer = {};
    life.reset();
    answer.reset();
    const Done callback = std::exchange(done, nullptr);
    if (callback) callback(std::move(result));
  }

  void on_exit() {
    int status = 0;
    // Its descriptors are closed: what is left of its end takes microseconds.
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
      finish(read_memfd(answer.get(), kMaxHelperAnswer));
      return;
    }
    finish(Error{"the helper process ended with " +
                 (WIFEXITED(status) ? "exit code " + std::to_string(WEXITSTATUS(status))
                                    : "signal " + std::to_string(WTERMSIG(status)))});
  }

  void on_deadline(Duration deadline) {
    ::kill(pid, SIGKILL);
    finish(Error{"the helper process did not end within " + format_duration_brief(deadline) +
                 "; is a disk or a name service stuck?"});
  }
};

HelperProcess::HelperProcess() = default;
HelperProcess::HelperProcess(HelperProcess&&) noexcept = default;
HelperProcess& HelperProcess::operator=(HelperProcess&&) noexcept = default;
HelperProcess::~HelperProcess() = default;

Result<HelperProcess> HelperProcess::start(EventLoop& loop, Duration deadline, Work work,
                                           Done done) {
  auto answer = make_memfd("mtd-helper");
  if (!answer) return answer.error();
  auto state = std::make_shared<State>();
  std::array<int, 2> life{};
  if (::pipe2(life.data(), O_CLOEXEC) != 0)
    return Error::from_errno("start a helper process", errno);
  state->life.reset(life[0]);
  const UniqueFd childs_end(life[1]);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return Error::from_errno("start a helper process", errno);
  if (child == 0) run_child(answer->get(), childs_end.get(), parent, work);
  state->pid = child;
  state->answer = std::move(*answer);
  state->done = std::move(done);
  State* self = state.get();
  auto watch = loop.watch(state->life.get(), EPOLLIN, Priority::normal,
                          [self](std::uint32_t) { self->on_exit(); });
  if (!watch) return watch.error();
  state->watch = std::move(*watch);
  auto timer = loop.timer(Priority::normal, [self, deadline] { self->on_deadline(deadline); });
  if (!timer) return timer.error();
  state->timer = std::move(*timer);
  state->timer.arm(now() + deadline);
  HelperProcess helper;
  helper.state_ = std::move(state);
  return helper;
}

}  // namespace mtd::sys
