// Supervisor: from HELLO to READY.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <set>
#include <utility>

#include "common/escape.h"
#include "common/exit_codes.h"
#include "common/names.h"
#include "config/loader.h"
#include "daemon/role/log.h"
#include "daemon/supervisor/control_access.h"
#include "daemon/supervisor/control_handlers.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/supervisor/worker_label.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/memfd.h"
#include "daemon/sys/proc.h"
#include "daemon/sys/runtime_dir.h"

namespace mtd::supervisor {
namespace {

constexpr std::size_t kMaxConfigurationBytes = 64 << 20;

// What stands in for a pool whose configuration is gone: nothing of it is started any more.
config::PoolSpec leftover_spec(const std::string& name) {
  config::PoolSpec spec;
  spec.name = name;
  spec.enabled = false;
  return spec;
}

}  // namespace

void Supervisor::begin_when_told() {
  if (!greeted_ || !listed_ || !fetches_.empty() || serving_ || loading_ || finished_) return;
  begin();
}

UniqueFd Supervisor::held(const std::string& name) {
  const auto found = held_.find(name);
  return found == held_.end() ? UniqueFd() : std::move(found->second);
}

void Supervisor::fail_start(int code, const std::vector<std::string>& errors) {
  for (const auto& error : errors)
    spdlog::error("{}", escape_for_terminal(error));
  finished_ = true;
  // The keeper knows the codes of a first life that mean the end; a second try would not help here
  // either. But what a running daemon met now may pass, and its workers run on meanwhile: the
  // keeper starts another supervisor, for ever.
  const bool goes_on = hello_.epoch > 1 && served_before_;
  const bool is_known =
      code == mtd::code(DaemonExit::another_owner) || code == mtd::code(DaemonExit::configuration);
  if (!goes_on && (hello_.epoch > 1 || !is_known)) keeper_.finish(code);
  (void)keeper_.flush().has_value();
  loop_.stop(code);
}

void Supervisor::fail_bind(const Error& error) {
  const auto exit =
      error.errno_value == EADDRINUSE ? DaemonExit::another_owner : DaemonExit::failed;
  fail_start(code(exit), {error.message});
}

void Supervisor::begin() {
  served_before_ = served_before_ || held_.count("config") != 0;
  if (!take_runtime_dir()) return;
  choose_state_dir();
  config_path_ = options_.config.empty() ? config::default_path() : options_.config;
  if (const UniqueFd saved = held("config")) {
    LoadAnswer answer;
    auto text = sys::read_memfd(saved.get(), kMaxConfigurationBytes);
    auto decoded = text ? config::decode(*text) : Result<config::Configuration>(text.error());
    if (decoded) {
      answer.configuration = std::move(*decoded);
      answer.encoded = std::move(*text);
      serve(std::move(answer));
      return;
    }
    spdlog::warn("the configuration in force cannot be read back ({}); reading the files again",
                 decoded.error().message);
  }
  end_left_overs();
}

void Supervisor::load_first() {
  watch_configuration();  // before it is read: no change goes unnoticed
  loading_ = true;
  auto loader = start_loader(loop_, options_.config, state_dir_, [this](LoadAnswer answer) {
    loading_ = false;
    if (answer.errors.empty()) {
      const std::string problem = check_capacity(answer.configuration);
      if (!problem.empty()) answer.errors.push_back(problem);
    }
    if (!answer.errors.empty()) {
      fail_start(code(DaemonExit::configuration), answer.errors);
      return;
    }
    serve(std::move(answer));
  });
  if (!loader) {
    fail_start(code(DaemonExit::failed), {loader.error().message});
    return;
  }
  loader_ = std::move(*loader);
}

void Supervisor::serve(LoadAnswer answer) {
  configuration_ = std::move(answer.configuration);
  encoded_configuration_ = std::move(answer.encoded);
  if (options_.log_level.empty()) role::set_log_level(configuration_.daemon.log_level);
  for (const auto& warning : configuration_.warnings) {
    spdlog::warn("{}", escape_for_terminal(warning));
  }
  open_state();
  if (!state_) return;
  if (hello_.epoch == 1) {
    take_run_time_changes(answer);
  } else {
    take_held_changes();
  }
  if (!open_sockets() || !open_listeners()) return;
  open_cgroups();
  make_tasks();
  make_services();
  serving_ = true;
  if (!state_warning_.empty()) publish_own("state_damaged", state_warning_);
  make_pools();
  if (finished_) return;
  begin_tasks();
  forget_left_revisions();
  start_control();
  publish_deaths();
  watch_names();
  watch_configuration();
  if (hello_.epoch > 1) files_timer_.arm(sys::now());  // nobody watched meanwhile
  hold_configuration();
  hold_run_time_changes(run_time_changes());
  resume_ending();
  keeper_.ready();
  dirty_ = true;
  spdlog::info("mtd {} {}: {} pools, {} workers wanted, keeper pid {}, control socket {}",
               MTD_VERSION, hello_.epoch == 1 ? "started" : "goes on", pools_.size(),
               wanted_processes(), hello_.keeper_pid, escape_for_terminal(control_path_));
  announce_upgrade();
  for (const auto& signal : std::exchange(early_signals_, {}))
    handle(signal);
}

void Supervisor::open_cgroups() {
  UniqueFd pools = held("pools");
  auto tree = pools ? sys::CgroupTree::reopen(std::move(pools), hello_.instance)
                    : sys::CgroupTree::open(hello_.instance, hello_.keeper_pid);
  if (tree) {
    cgroups_ = std::move(*tree);
    tell_left_overs(*cgroups_);
    keeper_.hold("pools", cgroups_->pools_fd());
    return;
  }
  no_cgroups_reason_ = tree.error().message;
  spdlog::info("no cgroups: {}; process trees are followed by MTD_TAG instead", no_cgroups_reason_);
}

bool Supervisor::open_sockets() {
  const auto& daemon = configuration_.daemon;
  notify_path_ = runtime_dir_ + "/notify";
  control_path_ =
      daemon.control_socket.empty() ? runtime_dir_ + "/io.mtd.Manager" : daemon.control_socket;
  UniqueFd notify = held("notify");
  if (!notify) {
    auto bound = sys::bind_socket(notify_path_, sys::SocketKind::datagram, 0666);
    if (!bound) {
      fail_bind(bound.error());
      return false;
    }
    notify = std::move(*bound);
  }
  keeper_.hold("notify", notify.get());
  auto prepared = sys::NotifySocket::prepare(std::move(notify));
  if (!prepared) {
    fail_start(code(DaemonExit::failed), {prepared.error().message});
    return false;
  }
  Notifications::Hooks hooks;
  hooks.main_process = [this](int pid) -> std::optional<keeper::Key> {
    const auto found = pids_.find(pid);
    if (found == pids_.end()) return std::nullopt;
    return found->second;
  };
  hooks.by_cgroup = [this](int pid) { return key_by_cgroup(pid); };
  hooks.parent = [](int pid) { return sys::parent_of(pid); };
  hooks.has_cgroups = [this] { return cgroups_.has_value(); };
  hooks.is_started = [this](const keeper::Key& key) { return is_started(key); };
  hooks.spawns_under_way = [this] { return !spawns_.empty(); };
  hooks.deliver = [this](const keeper::Key& key, const sys::Notification& notification) {
    if (PoolRunner* pool = runner_of(key.pool)) {
      pool->on_notification({key.slot, key.incarnation}, notification);
    }
  };
  notifications_ = std::make_unique<Notifications>(std::move(*prepared), std::move(hooks));

  UniqueFd control = held("control");
  if (!control) {
    const mode_t mode = daemon.operate_gid || daemon.readonly_gid ? 0666 : 0600;
    auto bound = sys::bind_socket(control_path_, sys::SocketKind::stream_listener, mode);
    if (!bound) {
      fail_bind(bound.error());
      return false;
    }
    control = std::move(*bound);
  }
  keeper_.hold("control", control.get());
  held_["control"] = std::move(control);
  return true;
}

void Supervisor::make_services() {
  scanner_ = std::make_unique<TreeScanner>(loop_, pids_, hello_.instance, hello_.keeper_pid);
  gate_.set_limit(configuration_.daemon.start_concurrency);
  errands_ = std::make_unique<Errands>(loop_, keeper_, cgroups_, *scanner_, pids_, spawns_, hello_);
  prober_ = std::make_unique<Prober>(loop_, *errands_);
  services_ = std::make_unique<Services>(Services{
      loop_, keeper_, *state_, sockets_, *this, *tasks_, gate_, *scanner_, *prober_, *errands_,
      cgroups_, pids_, spawns_, entropy_, [this](const PoolRunner& pool) { return grant(pool); },
      [this] { (void)notifications_->drain(); }, hello_,
      RevisionFacts{hello_.instance, notify_path_, program_beside("mtd-worker")},
      no_cgroups_reason_});
  const auto pools = [this] {
    std::vector<PoolRunner*> all;
    for (const auto& entry : pools_)
      all.push_back(entry.second.get());
    return all;
  };
  memory_watch_ = std::make_unique<MemoryWatch>(loop_, cgroups_, pools,
                                                [this](std::uint32_t id) { return runner_of(id); });
  open_events();
  for (auto* timer : {&pools_timer_, &status_timer_}) {
    auto made = timer == &pools_timer_
                    ? loop_.timer(sys::Priority::normal, [this] { on_deadline(); })
                    : loop_.timer(sys::Priority::idle, [this] { tell_status(); });
    if (made) *timer = std::move(*made);
  }
  auto growth = loop_.timer(sys::Priority::normal, [this] { grant_waiting(); });
  if (growth) growth_timer_ = std::move(*growth);
  auto hup = loop_.timer(sys::Priority::normal, [this] { reload_by_signal(); });
  if (hup) hup_timer_ = std::move(*hup);
  auto watch = loop_.watch(notifications_->fd(), EPOLLIN, sys::Priority::notify,
                           [this](std::uint32_t) { on_notifications(); });
  if (watch) notify_watch_ = std::move(*watch);
}

PoolRunner* Supervisor::add_pool(config::PoolSpec spec, bool removing) {
  const std::string name = spec.name;
  StateStore::Pool own;
  const auto remembered = remembered_.pools.find(name);
  if (remembered != remembered_.pools.end()) {
    own = std::move(remembered->second);
    remembered_.pools.erase(remembered);
  }
  // Of an older pool of that name, which was being removed: this one is its successor.
  const bool waits = own.record.removing && !removing;
  std::optional<config::PoolSpec> successor;
  if (waits) successor = std::exchange(spec, leftover_spec(name));
  if (removing || waits) spec.spawn_fingerprint = own.record.memory.fingerprint;
  if (own.record.id == 0) own.record.id = next_pool_id_++;
  own.record.removing = removing || waits;
  if (!removing && !waits) spec = spec_in_force(spec, own);
  auto runner =
      std::make_unique<PoolRunner>(*services_, std::move(spec), std::move(own), older_specs_);
  PoolRunner* pool = runner.get();
  pool->successor = std::move(successor);
  pools_[name] = std::move(runner);
  by_id_[pool->id()] = pool;
  if (!pool->model().spec().command.empty()) {
    const auto uploaded = pool->upload();
    if (!uploaded) spdlog::error("{}", escape_for_terminal(uploaded.error().message));
  }
  dirty_ = true;
  return pool;
}

void Supervisor::make_pools() {
  // Where the state was lost, the labels still say which id is whose.
  for (const auto& [key, entry] : early_entries_) {
    if (entry.key.pool == kErrandPool) continue;
    const WorkerLabel label = decode_label(entry.label);
    next_pool_id_ = std::max(next_pool_id_, entry.key.pool + 1);
    if (!is_valid_name(label.pool)) continue;
    auto& record = remembered_.pools[label.pool].record;
    if (record.id != 0) continue;
    record.id = entry.key.pool;
    record.name = label.pool;
    record.revision = label.revision;
  }
  take_older_specs();
  for (const auto& spec : std::vector<config::PoolSpec>(configuration_.pools))
    add_pool(spec);
  older_specs_ = {};
  if (state_is_new_) {
    for (const auto& entry : pools_)
      entry.second->save_everything();
    commit();
    keeper_.hold("state", state_->fd());
  }
  adopt_entries();
}

void Supervisor::adopt_entries() {
  std::set<std::string> strange;  // pools that left the configuration and nobody knows when
  for (const auto& [key, entry] : early_entries_) {
    if (entry.key.pool == kErrandPool) {
      errands_->end_left(entry);
      continue;
    }
    PoolRunner* pool = runner_of(entry.key.pool);
    if (pool == nullptr) {
      const std::string name = decode_label(entry.label).pool;
      const bool nameless = !is_valid_name(name);
      if (nameless || find(name) != nullptr) {  // nobody's, or of an older pool of that name
        leave_no_stranger(entry, nameless ? std::string() : name);
        continue;
      }
      if (!remembered_.pools[name].record.removing) strange.insert(name);
      pool = add_pool(leftover_spec(name), true);
    }
    if (strange.count(pool->name()) != 0) leave_no_stranger(entry, pool->name());
    pool->adopt(entry);
  }
  for (const auto& [name, pool] : pools_)
    pool->end_adoption();
  auto entries = std::exchange(early_entries_, {});
  for (const auto& [key, entry] : entries)
    handle(entry);
  for (const auto& [name, pool] : remembered_.pools) {
    if (pool.record.id != 0) state_->forget_pool(pool.record.id);
  }
  remembered_ = {};
  for (const auto& [name, pool] : pools_)
    pool->apply(pool->removing() ? model::Event(model::StopCommand{})
                                 : model::Event(model::Tick{}));
  for (const auto& entry : pools_)
    entry.second->forget_vanished();
  commit();
}

// A process of no pool in the configuration is shown, and ended with all that it started.
void Supervisor::leave_no_stranger(const keeper::Entry& entry, const std::string& pool) {
  if (entry.state == keeper::EntryState::failed || entry.state == keeper::EntryState::exited)
    return;
  const std::string name = pool.empty() ? "an unknown pool" : "pool " + pool;
  const PoolRunner* of_name = pool.empty() ? nullptr : find(pool);
  const bool is_its_own = of_name != nullptr && of_name->id() == entry.key.pool;
  if (!is_its_own) {
    keeper_.signal(entry.key, SIGKILL, keeper::Scope::group);
    if (cgroups_ && entry.in_cgroup != 0 && !pool.empty())
      (void)cgroups_->kill({pool, entry.key.slot, entry.key.incarnation}).has_value();
  }
  spdlog::warn("pid {} is of {}, which is not in the configuration: it is ended with its tree",
               entry.pid, name);
  publish_own("stray_ended",
              "pid " + std::to_string(entry.pid) + " is of " + name +
                  ", which is not in the configuration: it is ended with its tree",
              pool, entry.pid);
}

void Supervisor::start_control() {
  const auto& daemon = configuration_.daemon;
  ControlLimits limits;
  limits.clients = daemon.max_clients;
  ServiceInfo info;
  info.version = MTD_VERSION;
  handlers_ = make_control_handlers(*this);
  server_ = std::make_unique<ControlServer>(reactor_, *handlers_, held("control"),
                                            access_of(daemon, sys::own_uid()), limits, info);
  events_->set_wake_all(
      [this](std::vector<std::weak_ptr<Call>>&& calls) { server_->wake_all(std::move(calls)); });
  server_->on_audit([](const AuditRecord& record) {
    spdlog::info("control: uid {} pid {} {} {} {}", record.peer.credentials.uid,
                 record.peer.credentials.pid, record.refused ? "was refused" : "called",
                 record.method, record.parameters);
  });
}

}  // namespace mtd::supervisor
