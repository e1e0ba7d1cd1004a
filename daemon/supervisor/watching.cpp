// Supervisor: what others change behind its back. Sockets and the runtime directory that a cleaner
// removed are made again; changes of the configuration's files are noticed. Told by inotify: while
// nothing happens, nothing runs.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>
#include <utility>

#include "common/escape.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/runtime_dir.h"

namespace mtd::supervisor {
namespace {

// So that whoever removes a directory with all that is in it has come to its end.
constexpr Duration kNamesDelay = Duration::milliseconds(200);
constexpr Duration kFirstRetry = Duration::seconds(1);
constexpr Duration kLongestRetry = Duration::seconds(60);

std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string base_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

}  // namespace

void Supervisor::watch_names() {
  auto timer = loop_.timer(sys::Priority::normal, [this] { look_after_names(); });
  if (timer) names_timer_ = std::move(*timer);
  auto names = sys::DirectoryWatch::create();
  if (!names) {
    spdlog::warn("removed sockets are not noticed: {}", names.error().message);
    return;
  }
  names_ = std::move(*names);
  auto watch = loop_.watch(names_.fd(), EPOLLIN, sys::Priority::normal, [this](std::uint32_t) {
    const std::set<std::string, std::less<>> ours = {
        "", "lock", base_of(notify_path_), base_of(control_path_), base_of(task_socket_path())};
    if (names_.drain([&](std::string_view name) { return ours.find(name) != ours.end(); }))
      names_timer_.arm(sys::now() + kNamesDelay);
  });
  if (watch) names_watch_ = std::move(*watch);
  look_after_names();
}

void Supervisor::look_after_names() {
  if (finished_) return;
  const auto done = restore_names();
  if (done) {
    names_retry_ = Duration();
    return;
  }
  names_retry_ =
      names_retry_.is_zero() ? kFirstRetry : std::min(names_retry_ + names_retry_, kLongestRetry);
  spdlog::error("{}; the next attempt comes in {}", escape_for_terminal(done.error().message),
                format_duration_brief(names_retry_));
  names_timer_.arm(sys::now() + names_retry_);
}

Result<void> Supervisor::restore_names() {
  const auto directory = sys::open_runtime_dir(runtime_dir_);
  if (!directory) return directory.error();
  // First watched, then looked at: nothing can happen in between.
  for (const auto& path : {runtime_dir_, parent_of(control_path_)}) {
    if (names_.fd() < 0) break;
    const auto added = names_.add(path, sys::DirectoryWatch::Of::removals);
    if (!added) return added.error();
  }
  if (const auto lock = restore_lock(directory->get()); !lock) return lock.error();
  if (const auto notify = restore_notify(); !notify) return notify.error();
  if (const auto tasks = restore_tasks(); !tasks) return tasks.error();
  return restore_control();
}

Result<void> Supervisor::restore_lock(int directory) {
  if (sys::is_lock_file(directory, lock_.get())) return {};
  auto lock = sys::take_lock(directory, hello_.keeper_pid, hello_.instance);
  if (!lock) return lock.error();
  if (std::holds_alternative<sys::LockHeld>(*lock)) {
    return Error{"another mtd owns " + runtime_dir_ + " since its lock was removed"};
  }
  lock_ = std::move(std::get<sys::OwnerLock>(*lock).fd);
  keeper_.hold("lock", lock_.get());
  spdlog::warn("{}/lock was removed: made again", escape_for_terminal(runtime_dir_));
  return {};
}

Result<void> Supervisor::restore_notify() {
  if (sys::socket_file_is_there(notify_path_)) return {};
  auto bound = sys::bind_socket(notify_path_, sys::SocketKind::datagram, 0666);
  if (!bound) return bound.error();
  auto prepared = sys::NotifySocket::prepare(std::move(*bound));
  if (!prepared) return prepared.error();
  keeper_.hold("notify", prepared->fd());
  (void)notifications_->drain();
  notify_watch_ = {};
  notifications_->replace(std::move(*prepared));
  auto watch = loop_.watch(notifications_->fd(), EPOLLIN, sys::Priority::notify,
                           [this](std::uint32_t) { on_notifications(); });
  if (!watch) return watch.error();
  notify_watch_ = std::move(*watch);
  spdlog::warn("{} was removed: made again", escape_for_terminal(notify_path_));
  return {};
}

Result<void> Supervisor::restore_control() {
  if (sys::socket_file_is_there(control_path_)) return {};
  const auto& daemon = configuration_.daemon;
  auto bound = sys::bind_socket(control_path_, sys::SocketKind::stream_listener,
                                daemon.operate_gid || daemon.readonly_gid ? 0666 : 0600);
  if (!bound) return bound.error();
  keeper_.hold("control", bound->get());
  server_->set_listener(std::move(*bound));
  spdlog::warn("{} was removed: made again", escape_for_terminal(control_path_));
  return {};
}

// The broker has the old listener, and is sent the new one.
Result<void> Supervisor::restore_tasks() {
  if (tasks_->listener() < 0 || sys::socket_file_is_there(task_socket_path())) return {};
  const auto& daemon = configuration_.daemon;
  auto bound = sys::bind_socket(task_socket_path(), sys::SocketKind::stream_listener,
                                daemon.operate_gid || daemon.readonly_gid ? 0666 : 0600);
  if (!bound) return bound.error();
  tasks_->replace_listener(std::move(*bound));
  spdlog::warn("{} was removed: made again", escape_for_terminal(task_socket_path()));
  return {};
}

void Supervisor::watch_configuration() {
  if (files_.fd() < 0) {
    auto timer = loop_.timer(sys::Priority::idle, [this] { compare_files(); });
    if (timer) files_timer_ = std::move(*timer);
    auto files = sys::DirectoryWatch::create();
    if (!files) {
      spdlog::warn("changes of the configuration are not noticed: {}", files.error().message);
      return;
    }
    files_ = std::move(*files);
    auto watch = loop_.watch(files_.fd(), EPOLLIN, sys::Priority::idle, [this](std::uint32_t) {
      // Beside these files anything may live; "..data" is how a mounted volume is replaced.
      const bool single = !sys::is_directory(config_path_);
      std::set<std::string, std::less<>> ours = {"", "..data", base_of(config_path_)};
      for (const auto& file : configuration_.files)
        ours.insert(base_of(file));
      const bool any = files_.drain([&](std::string_view name) {
        return ours.find(name) != ours.end() ||
               (!single && (name.ends_with(".json") || name.ends_with(".d")));
      });
      if (any && files_timer_.deadline().is_never()) files_timer_.arm(sys::now() + kCompareDelay);
    });
    if (watch) files_watch_ = std::move(*watch);
  }
  std::set<std::string> directories;
  if (sys::is_directory(config_path_)) {
    directories = {config_path_, config_path_ + "/pools.d"};
  } else {
    directories = {parent_of(config_path_)};
  }
  for (const auto& file : configuration_.files) {
    directories.insert(parent_of(file));
    directories.insert(file + ".d");  // its drop-ins
  }
  // One that does not exist is noticed, when it appears, by the watch of its parent.
  for (const auto& directory : directories)
    (void)files_.add(directory, sys::DirectoryWatch::Of::changes).has_value();
}

}  // namespace mtd::supervisor
