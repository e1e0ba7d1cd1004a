// Supervisor: signals sent to mtd, what the service manager is told, and the end.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "common/exit_codes.h"
#include "daemon/supervisor/revision.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/proc_scan.h"
#include "daemon/sys/runtime_dir.h"

namespace mtd::supervisor {
namespace {

constexpr Duration kExtension = Duration::seconds(30);
// A storm of SIGHUP is one reload a second; the last one is never lost.
constexpr Duration kHupInterval = Duration::seconds(1);

std::string sender(const keeper::DaemonSignal& signal) {
  if (signal.from_kernel != 0) return "from the kernel";
  return "from pid " + std::to_string(signal.sender_pid) + " of uid " +
         std::to_string(signal.sender_uid);
}

}  // namespace

void Supervisor::handle(const keeper::DaemonSignal& signal) {
  if (!serving_) {
    early_signals_.push_back(signal);
    const bool stop =
        signal.signal == SIGTERM || signal.signal == SIGINT || signal.signal == SIGQUIT;
    // Nothing runs yet, or an earlier life's workers do: then they are stopped once they are known.
    if (stop && hello_.epoch <= 1 && greeted_) fail_start(code(DaemonExit::stopped), {});
    return;
  }
  switch (signal.signal) {
    case SIGTERM:
    case SIGINT:
      spdlog::info("{} {}: stopping{}", signal.signal == SIGTERM ? "SIGTERM" : "SIGINT",
                   sender(signal), told_to_stop_ ? " now" : "");
      begin_stop(std::exchange(told_to_stop_, true));
      return;
    case SIGQUIT:
      spdlog::info("SIGQUIT {}: stopping now", sender(signal));
      begin_stop(true);
      return;
    case SIGHUP:
      if (signal.from_kernel != 0) {
        spdlog::info("the terminal is gone: stopping");
        begin_stop(false);
      } else if (!stopping_ && hup_timer_.deadline().is_never()) {
        spdlog::info("SIGHUP {}: reloading", sender(signal));
        hup_timer_.arm(std::max(sys::now(), last_hup_ + kHupInterval));
      }
      return;
    case SIGUSR1:
      spdlog::info("SIGUSR1 {}: logs go to stderr, nothing to reopen", sender(signal));
      return;
    case SIGUSR2:
      spdlog::info("SIGUSR2 {}: upgrading", sender(signal));
      begin_upgrade([](const Result<keeper::UpgradeState>&) {});
      return;
    case SIGTTIN:
      change_only_pool(+1);
      return;
    case SIGTTOU:
      change_only_pool(-1);
      return;
    default:
      return;
  }
}

void Supervisor::reload_by_signal() {
  last_hup_ = sys::now();
  if (!stopping_) reload({}, [](const ReloadOutcome&) {});
}

void Supervisor::change_only_pool(int delta) {
  if (stopping_) return;
  if (pools_.size() != 1) {
    spdlog::warn("SIGTTIN and SIGTTOU work with exactly one pool; there are {}", pools_.size());
    return;
  }
  auto& pool = *pools_.begin()->second;
  const std::uint32_t want = pool.model().summary(sys::now()).want;
  if (delta < 0 && want == 0) return;
  if (delta > 0 && wanted_processes() >= capacity()) {
    spdlog::warn("pool {}: {} processes are all there is room for", pool.name(), capacity());
    return;
  }
  const std::uint32_t next = delta > 0 ? want + 1 : want - 1;
  spdlog::info("pool {}: {} workers instead of {}", pool.name(), next, want);
  pool.apply(model::ScaleCommand{next});
  dirty_ = true;
}

void Supervisor::begin_stop(bool now) {
  if (stopping_ && (stopping_now_ || !now)) return;
  persist_run_time_changes();
  const bool first = !std::exchange(stopping_, true);
  stopping_now_ = stopping_now_ || now;
  if (first) tell_manager("STOPPING=1\nSTATUS=Stopping all workers");
  for (const auto& entry : pools_) {
    entry.second->set_removing(false);
    entry.second->successor.reset();
    PoolRunner& pool = *entry.second;
    const auto manner = now ? model::StopManner::now : model::StopManner::gently;
    pool.apply(model::StopCommand{{}, manner, !now && is_needed(pool)});
    if (now) pool.drop_commands();
  }
  status_timer_.arm(sys::now());
  dirty_ = true;
}

void Supervisor::check_stopped() {
  if (persisting_) return;  // the helper has a deadline of its own
  std::vector<std::string> stuck;
  for (const auto& [name, pool] : pools_) {
    if (pool->is_empty()) continue;
    if (pool->model().summary(sys::now()).stuck == 0) return;
    const auto view = pool->model().view(sys::now());
    bool any_stuck = false, any_other = false;
    for (const auto& slot : view.slots) {
      for (const auto& process : slot.processes) {
        const bool is_stuck = process.state == model::WorkerState::stuck;
        any_stuck = any_stuck || is_stuck;
        any_other = any_other || !is_stuck;
        if (is_stuck)
          stuck.push_back(name + "/" + std::to_string(slot.slot) + " pid " +
                          std::to_string(process.pid));
      }
    }
    if (!any_stuck || any_other) return;
  }
  bool told = true;
  for (const auto& entry : pools_)
    told = entry.second->wind_up() && told;
  if (!told) return;
  tasks_->stop();
  if (!tasks_->is_stopped()) return;
  for (const auto& process : stuck) {
    spdlog::error("{} does not end even by SIGKILL; it is left to the kernel", process);
  }
  const int clean = final_code_ != 0 ? final_code_ : code(DaemonExit::stopped);
  finish(stuck.empty() ? clean : code(DaemonExit::failed));
}

void Supervisor::finish(int code) {
  if (std::exchange(finished_, true)) return;
  spdlog::info("all pools are stopped; mtd ends with code {}", code);
  waits_.look_again();
  events_->close();
  server_->flush();
  sys::remove_socket(notify_path_);
  sys::remove_socket(control_path_);
  if (tasks_->listener() >= 0) sys::remove_socket(task_socket_path());
  sockets_.remove_files();
  if (cgroups_) {
    for (const auto& entry : pools_)
      cgroups_->remove_pool(entry.first);
    cgroups_->dissolve(hello_.keeper_pid);
  }
  if (code != mtd::code(DaemonExit::failed)) sys::forget_owner(lock_.get());
  keeper_.finish(code);
  (void)keeper_.flush().has_value();
  loop_.stop(0);
}

// Nobody can reap, signal or answer any more. What may wait here holds up nobody else.
void Supervisor::end_without_keeper() {
  if (std::exchange(finished_, true) || !serving_) return;
  sys::remove_socket(notify_path_);
  sys::remove_socket(control_path_);
  if (tasks_->listener() >= 0) sys::remove_socket(task_socket_path());
  sockets_.remove_files();
  if (cgroups_) {
    cgroups_->end_all();
  } else {
    sys::kill_tagged({instance_prefix(hello_.instance)});
  }
}

void Supervisor::tell_manager(const std::string& text) {
  if (hello_.under_service_manager != 0) keeper_.notify(text);
}

void Supervisor::tell_status() {
  if (hello_.under_service_manager == 0) return;
  std::uint64_t ready = 0, alive = 0;
  for (const auto& entry : pools_) {
    const auto summary = entry.second->model().summary(sys::now());
    ready += summary.ready;
    alive += summary.alive;
  }
  if (stopping_) {
    // The service manager would lose its patience before ours ends.
    tell_manager(
        "STATUS=Stopping: " + std::to_string(alive) +
        " processes are left\nEXTEND_TIMEOUT_USEC=" + std::to_string(kExtension.count_ns() / 1000));
    status_timer_.arm(sys::now() + Duration::seconds(10));
    return;
  }
  tell_manager("STATUS=" + std::to_string(ready) + "/" + std::to_string(wanted_processes()) +
               " workers ready");
}

}  // namespace mtd::supervisor
