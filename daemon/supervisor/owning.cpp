// Supervisor: one owner for a runtime directory. Takes its lock, and before anything is started
// ends what former owners left: their processes carry MTD_TAG with an instance that the lock names.
#include <spdlog/spdlog.h>

#include <cerrno>
#include <utility>

#include "common/escape.h"
#include "common/exit_codes.h"
#include "daemon/supervisor/revision.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/proc_scan.h"
#include "daemon/sys/runtime_dir.h"

namespace mtd::supervisor {
namespace {

// The supervisor of a killed keeper ends its workers first; then it lets go of the lock.
constexpr Duration kLockPatience = Duration::seconds(5);
constexpr Duration kLockRetry = Duration::milliseconds(50);
// For processes to end by SIGKILL; one that does not is stuck in the kernel.
constexpr Duration kEndPatience = Duration::seconds(3);
constexpr std::size_t kMostNamed = 16;

std::string names_of(const std::vector<sys::TaggedProcess>& processes) {
  std::string text;
  for (std::size_t i = 0; i < processes.size() && i < kMostNamed; ++i) {
    const auto& process = processes[i];
    text += (i == 0 ? "" : ", ") + std::to_string(process.pid) + " " +
            escape_for_terminal(process.comm);
  }
  return processes.size() > kMostNamed ? text + ", …" : text;
}

std::string hung_text(const std::string& names) {
  return "left by an mtd that is gone, and even SIGKILL does not end it: " + names +
         "; mtd starts without waiting for it";
}

}  // namespace

bool Supervisor::take_runtime_dir() {
  runtime_dir_ = options_.runtime_dir.empty() ? sys::default_runtime_dir() : options_.runtime_dir;
  const auto directory = sys::open_runtime_dir(runtime_dir_);
  if (!directory) {
    fail_start(code(DaemonExit::failed), {directory.error().message});
    return false;
  }
  runtime_dir_ = sys::path_of(directory->get(), runtime_dir_);
  lock_ = held("lock");
  if (lock_) return true;
  auto lock = sys::take_lock(directory->get(), hello_.keeper_pid, hello_.instance);
  if (!lock) {
    fail_start(code(DaemonExit::failed), {lock.error().message});
    return false;
  }
  if (const auto* other = std::get_if<sys::LockHeld>(&*lock)) {
    wait_for_lock(*other);
    return false;
  }
  lock_ = std::move(std::get<sys::OwnerLock>(*lock).fd);
  keeper_.hold("lock", lock_.get());
  return true;
}

// A living owner is respected at once.
void Supervisor::wait_for_lock(const sys::LockHeld& other) {
  const std::string pid = other.owner > 0 ? " (pid " + std::to_string(other.owner) + ")" : "";
  if (other.alive) {
    fail_start(code(DaemonExit::another_owner), {"another mtd" + pid + " owns " + runtime_dir_});
    return;
  }
  const Instant now = sys::now();
  if (lock_until_.is_never()) {
    lock_until_ = now + kLockPatience;
    auto timer = loop_.timer(sys::Priority::normal, [this] {
      loading_ = false;
      begin_when_told();
    });
    if (timer) lock_timer_ = std::move(*timer);
  }
  if (now >= lock_until_) {
    fail_start(code(DaemonExit::another_owner),
               {runtime_dir_ + "/lock is still held by what is left of an mtd" + pid +
                " that is gone: end the process that has it open (fuser -v shows it)"});
    return;
  }
  loading_ = true;
  lock_timer_.arm(now + kLockRetry);
}

void Supervisor::end_left_overs() {
  const auto former = sys::former_owners(lock_.get(), hello_.instance);
  if (former.empty()) return load_first();
  loading_ = true;
  std::vector<std::string> tags;
  for (const auto instance : former)
    tags.push_back(instance_prefix(instance));
  // The answer: whom it killed, an empty line, who lives on.
  auto helper = sys::HelperProcess::start(
      loop_, sys::kHelperDeadline,
      [tags = std::move(tags)] {
        const auto ended = sys::end_tagged(tags, kEndPatience);
        return sys::encode(ended.killed) + "\n" + sys::encode(ended.living);
      },
      [this](const Result<std::string>& answer) {
        loading_ = false;
        tell_left_overs(answer);
        load_first();
      });
  if (helper) {
    loader_ = std::move(*helper);
    return;
  }
  loading_ = false;
  tell_left_overs(helper.error());
  load_first();
}

void Supervisor::tell_left_overs(const Result<std::string>& answer) {
  if (!answer) {
    spdlog::warn("what an earlier mtd may have left running is not known: {}",
                 answer.error().message);
    return;
  }
  const std::size_t gap = answer->front() == '\n' ? 0 : answer->find("\n\n") + 1;
  const auto killed = sys::decode_tagged(answer->substr(0, gap));
  const auto living = sys::decode_tagged(answer->substr(gap + 1));
  if (!killed.empty()) {
    spdlog::warn("an mtd that is gone left {} processes: killed {}", killed.size(),
                 names_of(killed));
  }
  if (living.empty()) {
    sys::forget_former_owners(lock_.get(), hello_.keeper_pid, hello_.instance);
    return;
  }
  spdlog::error("{}", hung_text(names_of(living)));
}

void Supervisor::tell_left_overs(const sys::CgroupTree& tree) {
  for (const auto& left : tree.left_overs()) {
    if (left.processes == 0 && left.removed) {
      spdlog::info("{}, left by an mtd that is gone, was removed", left.path);
      continue;
    }
    std::string names;
    for (const auto& name : left.living)
      names += (names.empty() ? "" : ", ") + escape_for_terminal(name);
    spdlog::warn("{} was left by an mtd that is gone: {} processes killed{}", left.path,
                 left.processes, left.removed ? ", removed" : "; it cannot be removed yet");
    if (names.empty()) continue;
    spdlog::error("{}", hung_text(names));
  }
}

}  // namespace mtd::supervisor
