#include "daemon/sys/helper_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "common/unique_fd.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/memfd.h"
#include "daemon/sys/proc.h"

namespace mtd::sys {
namespace {

constexpr int kAnswerFd = 3;

[[noreturn]] void run_child(int answer, pid_t parent, const HelperProcess::Work& work) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null) ::dup2(null.get(), 0);
  // dup2 keeps the number when it is the same one already.
  if (::dup2(answer, kAnswerFd) < 0) ::_exit(1);
  ::syscall(SYS_close_range, kAnswerFd + 1, ~0U, 0U);
  const std::string text = work();
  ::_exit(write_at(kAnswerFd, 0, text) ? 0 : 1);
}

}  // namespace

struct HelperProcess::State {
  UniqueFd pidfd;
  UniqueFd answer;
  EventLoop::Watch watch;
  EventLoop::Timer timer;
  Done done;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (!pidfd) return;
    (void)signal_pidfd(pidfd, SIGKILL).has_value();
    siginfo_t info{};
    // Reaped if it is dead at once; else the keeper reaps it after this process.
    ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd.get()), &info,
             WEXITED | WNOHANG);
  }

  void finish(Result<std::string> result) {
    watch = {};
    timer = {};
    const Done callback = std::exchange(done, nullptr);
    if (callback) callback(std::move(result));
  }

  void on_exit() {
    siginfo_t info{};
    ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd.get()), &info,
             WEXITED | WNOHANG);
    pidfd.reset();
    if (info.si_code == CLD_EXITED && info.si_status == 0) {
      finish(read_memfd(answer.get(), kMaxHelperAnswer));
    } else {
      finish(Error{"the helper process ended with " +
                   std::string(info.si_code == CLD_EXITED ? "exit code " : "signal ") +
                   std::to_string(info.si_status)});
    }
  }

  void on_deadline(Duration deadline) {
    (void)signal_pidfd(pidfd, SIGKILL).has_value();
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
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return Error::from_errno("start a helper process", errno);
  if (child == 0) run_child(answer->get(), parent, work);
  state->pidfd = open_pidfd(child);  // not reaped yet, so the pid is still the child's
  state->answer = std::move(*answer);
  state->done = std::move(done);
  if (!state->pidfd) return Error::from_errno("watch a helper process", errno);
  State* self = state.get();
  auto watch = loop.watch(state->pidfd.get(), EPOLLIN, Priority::normal,
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
