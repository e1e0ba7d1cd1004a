// Runs text scenarios of the pool model: tests/scenario/model/*.txt. A file is a list of blocks
//
//   COMMAND [ARGUMENT…]      several lines may stand before the line of dashes
//   ----
//   what the model does, one action a line, and the pool's state after it
//   (empty line)
//
// Lines beginning with # are comments. `--rewrite` writes what the model does into the files: read
// the difference before you keep it.
//
//   pool KEY=VALUE…            a new pool at 0 (see set_key)
//   at DURATION                time since 0; a tick
//   spawned S.I · executed S.I · up S.I (both) · ready S.I · stopping S.I · tasks S.I N · empty S.I
//   busy S.I · idle S.I · watchdog S.I DURATION · command-failed S.I
//   alive S.I · gives-up S.I · extend S.I DURATION · memory S.I BYTES
//   probed S.I live|ready passed|failed|unknown · newline S.I (on MTD_READY_FD)
//   refused S.I STAGE ERRNO · exited S.I code N|signal N|core N|oom|setup STAGE ERRNO|unknown
//   adopted S.I REVISION [starting] [ready] [stopping]
//   start|stop|stop-now|stop-drain|stop-when-free|hold-back|admit|restart|reset-failed [SLOT…] ·
//   scale N|reset · reload KEY=VALUE… · undo · rollout pause|resume|forget · freeze · thaw
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>

#include "common/time.h"
#include "daemon/supervisor/model/pool.h"
#include "daemon/supervisor/model/vocabulary.h"

namespace {

using namespace mtd;
using namespace mtd::model;

using Words = std::vector<std::string>;

Words split(const std::string& line) {
  std::istringstream in(line);
  Words words;
  for (std::string word; in >> word;)
    words.push_back(word);
  return words;
}

WorkerKey parse_key(const std::string& text) {
  const std::size_t dot = text.find('.');
  return {static_cast<std::uint32_t>(std::stoul(text.substr(0, dot))),
          std::stoull(text.substr(dot + 1))};
}

std::string text_of(const WorkerKey& key) {
  return std::to_string(key.slot) + "." + std::to_string(key.incarnation);
}

Duration duration(const std::string& text) {
  return parse_duration(text).value();
}

// PERIOD/THRESHOLD, or "none"
void probe(config::ProbeSpec& probe, const std::string& value) {
  const std::size_t slash = value.find('/');
  probe.tcp = slash == std::string::npos ? "" : "127.0.0.1:1";
  if (slash == std::string::npos) return;
  probe.period = duration(value.substr(0, slash));
  probe.threshold = static_cast<std::uint32_t>(std::stoul(value.substr(slash + 1)));
}

void set_key(config::PoolSpec& spec, const std::string& key, const std::string& value) {
  const auto number = [&] { return static_cast<std::uint32_t>(std::stoul(value)); };
  const std::map<std::string, std::function<void()>> keys{
      {"workers", [&] { spec.workers = number(); }},
      {"workers.min", [&] { spec.workers = spec.scaling.min = number(); }},
      {"workers.max", [&] { spec.scaling.max = number(); }},
      {"workers.spare", [&] { spec.scaling.spare = number(); }},
      {"workers.quiet", [&] { spec.scaling.quiet = duration(value); }},
      {"listen", [&] { spec.listen.resize(number()); }},
      {"enabled", [&] { spec.enabled = value == "true"; }},
      {"overlap", [&] { spec.overlap = value == "true"; }},
      {"fingerprint", [&] { spec.spawn_fingerprint = number(); }},
      {"ready",
       [&] {
         spec.ready = value == "notify"  ? config::ReadyMode::notify
                      : value == "fd"    ? config::ReadyMode::fd
                      : value == "probe" ? config::ReadyMode::probe
                                         : config::ReadyMode::exec;
       }},
      {"restart",
       [&] {
         spec.restart = value == "never"        ? config::RestartPolicy::never
                        : value == "on-failure" ? config::RestartPolicy::on_failure
                                                : config::RestartPolicy::always;
       }},
      {"no_restart_code", [&] { spec.no_restart_codes.push_back(std::stoi(value)); }},
      {"success_code", [&] { spec.success_codes.push_back(std::stoi(value)); }},
      {"orphans",
       [&] {
         spec.orphans = value == "keep" ? config::OrphanPolicy::keep : config::OrphanPolicy::kill;
       }},
      {"backoff.initial", [&] { spec.backoff.initial = duration(value); }},
      {"backoff.max", [&] { spec.backoff.max = duration(value); }},
      {"backoff.jitter", [&] { spec.backoff.jitter = std::stod(value); }},
      {"backoff.reset_after", [&] { spec.backoff.reset_after = duration(value); }},
      {"crash_limit.count", [&] { spec.crash_limit.count = number(); }},
      {"crash_limit.window", [&] { spec.crash_limit.window = duration(value); }},
      {"crash_limit.retry_after", [&] { spec.crash_limit.retry_after = duration(value); }},
      {"crash_limit.action",
       [&] {
         spec.crash_limit.action =
             value == "fail" ? config::BreakerAction::fail : config::BreakerAction::backoff;
       }},
      {"start_timeout", [&] { spec.start_timeout = duration(value); }},
      {"min_uptime", [&] { spec.min_uptime = duration(value); }},
      {"stop.timeout", [&] { spec.stop.timeout = duration(value); }},
      {"stop.step",  // SIGNAL:TIME, once for each
       [&] {
         const std::size_t colon = value.find(':');
         spec.stop.steps.push_back(
             {{std::stoi(value.substr(0, colon))}, duration(value.substr(colon + 1))});
       }},
      {"stop.command", [&] { spec.stop.command.command = {value}; }},
      {"depends_on",
       [&] {
         spec.depends_on.push_back({value, config::DependencyState::ready});
       }},
      {"stop.scope",
       [&] {
         spec.stop.scope =
             value == "process" ? config::StopScope::process : config::StopScope::tree;
       }},
      {"reload.max_surge", [&] { spec.reload.max_surge = number(); }},
      {"reload.max_unavailable", [&] { spec.reload.max_unavailable = number(); }},
      {"recycle.max_tasks", [&] { spec.recycle.max_tasks = number(); }},
      {"recycle.max_rss", [&] { spec.recycle.max_rss = number(); }},
      {"recycle.max_lifetime", [&] { spec.recycle.max_lifetime = duration(value); }},
      {"recycle.idle_timeout", [&] { spec.recycle.idle_timeout = duration(value); }},
      {"watchdog", [&] { spec.watchdog = duration(value); }},
      {"live", [&] { probe(spec.probes.live, value); }},
      {"ready_probe", [&] { probe(spec.probes.ready, value); }},
      {"recycle.jitter", [&] { spec.recycle.jitter = std::stod(value); }},
      {"recycle.concurrency", [&] { spec.recycle.concurrency = number(); }},
  };
  const auto found = keys.find(key);
  if (found == keys.end()) throw std::runtime_error("no such key: " + key);
  found->second();
}

void set_keys(config::PoolSpec& spec, const Words& words) {
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::size_t equal = words[i].find('=');
    set_key(spec, words[i].substr(0, equal), words[i].substr(equal + 1));
  }
}

// ---- What the model does, in words
// ------------------------------------------------------------------
std::string say(const SpawnAction& a) {
  return "spawn " + text_of(a.key) + " revision " + std::to_string(a.revision) +
         (a.task_limit != 0 ? " tasks " + std::to_string(a.task_limit) : "");
}
std::string say(const SignalAction& a) {
  return "signal " + std::to_string(a.signal) + " to " + text_of(a.key);
}
std::string say(const StopCommandAction& a) {
  return "stop command of " + text_of(a.key);
}
std::string say(const KillTreeAction& a) {
  return "kill tree of " + text_of(a.key);
}
std::string say(const WatchTreeAction& a) {
  return "watch tree of " + text_of(a.key);
}
std::string say(const ForgetAction& a) {
  return "forget " + text_of(a.key);
}
std::string say(const FreezeAction& a) {
  return (a.frozen ? "freeze " : "thaw ") + text_of(a.key);
}
std::string say(const ProbeAction& a) {
  return std::string(a.role == ProbeRole::live ? "live" : "ready") + " probe of " + text_of(a.key);
}
std::string say(const ClaimAction& a) {
  return "claim " + std::to_string(a.needs) + " workers";
}
std::string say(const PublishAction& a) {
  std::string text = "event " + std::string(name_of(a.happening));
  if (a.worker) text += " " + text_of(*a.worker);
  if (a.exit) {
    text +=
        " " + std::string(name_of(a.exit->cause)) + (a.exit->planned ? " planned" : " unplanned");
  }
  if (a.next_attempt) text += " next in " + format_duration(*a.next_attempt);
  if (a.number != 0) text += " (" + std::to_string(a.number) + ")";
  return text;
}

std::string say(const Pool& pool, Instant now) {
  const PoolView view = pool.view(now);
  std::string text = "pool " + std::string(name_of(view.state)) + " " + std::to_string(view.ready) +
                     "/" + std::to_string(view.want) + ":";
  for (const SlotView& slot : view.slots)
    text += " " + std::string(name_of(slot.state));
  text += ", restarts " + std::to_string(view.restarts);
  if (view.recycled != 0) text += ", recycled " + std::to_string(view.recycled);
  if (view.spawn_failures != 0) text += ", spawn failures " + std::to_string(view.spawn_failures);
  if (view.stale_facts != 0) text += ", stale " + std::to_string(view.stale_facts);
  if (view.outdated != 0) text += ", outdated " + std::to_string(view.outdated);
  if (view.breaker_open) text += ", breaker open";
  if (view.rollout.failed != 0) {
    text += ", revision " + std::to_string(view.rollout.failed) + " failed by " +
            std::to_string(*view.rollout.failed_slot) + "." +
            std::to_string(view.rollout.failed_exit->incarnation);
  }
  switch (view.rollout.state) {
    case RolloutState::none:
    case RolloutState::rolling:
      break;
    case RolloutState::paused:
      text += ", paused";
      break;
    case RolloutState::waiting:
      text += ", waits for the earlier roll-out";
      break;
    case RolloutState::back:
      text += ", going back";
      break;
  }
  if (view.held_back) text += ", held back";
  if (view.stop_due) text += ", to be stopped";
  if (view.busy) text += ", busy " + std::to_string(*view.busy);
  if (view.dynamic && view.need != view.want) text += ", needs " + std::to_string(view.need);
  if (view.restraint == Restraint::processes) text += ", held back by limits.processes";
  if (view.restraint == Restraint::memory) text += ", held back for memory";
  if (pool.waits_for_demand()) text += ", waits for a connection";
  const Instant next = pool.next_deadline();
  if (!next.is_never()) text += ", next at " + format_duration(next.since(Instant()));
  return text + (pool.is_settled() ? "" : ", unsettled") + (pool.is_empty() ? ", empty" : "");
}

// ---- A scenario ---------------------------------------------------------------------------------
class Scenario {
 public:
  std::string run(const std::string& line) {
    const Words words = split(line);
    if (words.empty()) return {};
    try {
      return dispatch(words);
    } catch (const std::exception& error) {
      return std::string("error: ") + error.what() + "\n";
    }
  }
  [[nodiscard]] std::string state() const { return pool_ ? say(*pool_, now_) + "\n" : ""; }

 private:
  std::string dispatch(const Words& words) {
    const std::string& verb = words[0];
    if (verb == "pool") {
      config::PoolSpec spec;
      spec.name = "scenario";
      spec.spawn_fingerprint = 1;
      spec.backoff.jitter = 0;
      spec.recycle.jitter = 0;
      set_keys(spec, words);
      now_ = Instant();
      pool_.emplace(spec, 1, now_);
      return {};
    }
    if (verb == "at") {
      now_ = Instant() + duration(words.at(1));
      return step(Tick{});
    }
    if (verb == "up")
      return step(Spawned{parse_key(words.at(1)), 100}) + step(Executed{parse_key(words.at(1))});
    if (const auto event = fact(words)) return step(*event);
    return step(command(words));
  }

  static std::optional<Event> fact(const Words& words) {
    static const std::vector<std::string> verbs{
        "spawned", "executed", "ready", "stopping", "tasks",         "empty",  "refused",
        "exited",  "adopted",  "alive", "gives-up", "extend",        "memory", "probed",
        "newline", "busy",     "idle",  "watchdog", "command-failed"};
    if (std::find(verbs.begin(), verbs.end(), words[0]) == verbs.end()) return std::nullopt;
    const WorkerKey key = parse_key(words.at(1));
    if (words[0] == "spawned") return Spawned{key, 100};
    if (words[0] == "executed") return Executed{key};
    if (words[0] == "ready") return NotifiedReady{key};
    if (words[0] == "newline") return NotifiedReady{key, true};
    if (words[0] == "alive") return NotifiedAlive{key};
    if (words[0] == "gives-up") return NotifiedAlive{key, true};
    if (words[0] == "watchdog") return WatchdogChanged{key, duration(words.at(2))};
    if (words[0] == "command-failed") return StopCommandFailed{key};
    if (words[0] == "extend") return NotifiedExtension{key, duration(words.at(2))};
    if (words[0] == "memory") return MemoryUsed{key, std::stoull(words.at(2))};
    if (words[0] == "probed") {
      return Probed{key, words.at(2) == "live" ? ProbeRole::live : ProbeRole::ready,
                    words.at(3) == "passed"   ? ProbeOutcome::passed
                    : words.at(3) == "failed" ? ProbeOutcome::failed
                                              : ProbeOutcome::unknown};
    }
    if (words[0] == "stopping") return NotifiedStopping{key};
    if (words[0] == "condemned") return Condemned{key, ExitCause::task_protocol};
    if (words[0] == "tasks") return TasksDone{key, std::stoull(words.at(2))};
    if (words[0] == "empty") return TreeEmpty{key};
    if (words[0] == "busy") return BusyChanged{key, true};
    if (words[0] == "idle") return BusyChanged{key, false};
    if (words[0] == "refused")
      return SpawnRefused{key, std::stoi(words.at(2)), std::stoi(words.at(3))};
    if (words[0] == "exited") return exited(key, words);
    return adopted(key, words);
  }

  static Exited exited(const WorkerKey& key, const Words& words) {
    Exited fact;
    fact.key = key;
    const std::string& how = words.at(2);
    if (how == "code") fact.wait_status = std::stoi(words.at(3)) << 8;
    if (how == "signal") fact.wait_status = std::stoi(words.at(3));
    if (how == "core") fact.wait_status = std::stoi(words.at(3)) | 0x80;
    if (how == "oom") {
      fact.wait_status = 9;
      fact.oom = true;
    }
    if (how == "setup") {
      fact.kind = ReportKind::setup_failed;
      fact.stage = std::stoi(words.at(3));
      fact.error = std::stoi(words.at(4));
    }
    if (how == "unknown") {
      fact.kind = ReportKind::unknown;
      fact.wait_status = 9;
    }
    return fact;
  }

  static Event adopted(const WorkerKey& key, const Words& words) {
    const auto has = [&](const char* word) {
      return std::find(words.begin() + 3, words.end(), word) != words.end();
    };
    Adopted fact;
    fact.key = key;
    fact.revision = std::stoull(words.at(2));
    fact.pid = 100;
    fact.executed = !has("starting");
    fact.was_ready = has("ready");
    fact.stop_sent = has("stopping");
    return fact;
  }

  Event command(const Words& words) {
    std::vector<std::uint32_t> slots;
    const std::string& verb = words[0];
    if (verb == "scale") {
      if (words.at(1) == "reset") return ScaleCommand{};
      return ScaleCommand{static_cast<std::uint32_t>(std::stoul(words.at(1)))};
    }
    if (verb == "reload") {
      ReconfigureCommand command{pool_->spec(), ++revision_};
      set_keys(command.spec, words);
      return command;
    }
    if (verb == "undo") {
      const Revision previous = pool_->previous().value();
      return ReconfigureCommand{*previous.spec, previous.number};
    }
    if (verb == "rollout") {
      return RolloutCommand{words.at(1) == "pause"    ? RolloutOrder::pause
                            : words.at(1) == "resume" ? RolloutOrder::resume
                                                      : RolloutOrder::forget};
    }
    if (verb == "demand") return Demand{};
    if (verb == "grant") {
      const bool all = words.size() == 2;
      return GrantCommand{static_cast<std::uint32_t>(std::stoul(words.at(1))),
                          all                       ? Restraint::none
                          : words.at(2) == "memory" ? Restraint::memory
                                                    : Restraint::processes};
    }
    if (verb == "freeze") return FreezeCommand{true};
    if (verb == "thaw") return FreezeCommand{false};
    for (std::size_t i = 1; i < words.size(); ++i) {
      slots.push_back(static_cast<std::uint32_t>(std::stoul(words[i])));
    }
    if (verb == "start") return StartCommand{slots};
    if (verb == "stop") return StopCommand{slots, StopManner::gently};
    if (verb == "stop-now") return StopCommand{slots, StopManner::now};
    if (verb == "stop-drain") return StopCommand{slots, StopManner::drain};
    if (verb == "stop-when-free") return StopCommand{slots, StopManner::gently, true};
    if (verb == "hold-back") return HoldBackCommand{true};
    if (verb == "admit") return HoldBackCommand{false};
    if (verb == "restart") return RestartCommand{slots};
    if (verb == "reset-failed") return ResetFailedCommand{slots};
    throw std::runtime_error("no such command: " + verb);
  }

  std::string step(const Event& event) {
    std::string text;
    for (const Action& action : pool_.value().step(event, now_, 1)) {
      text += std::visit([](const auto& one) { return say(one); }, action) + "\n";
    }
    return text;
  }

  std::optional<Pool> pool_;
  Instant now_;
  std::uint64_t revision_ = 1;
};

// Reads a file, runs it, and returns what it ought to be.
std::string play(std::istream& in) {
  Scenario scenario;
  std::string out;
  std::string said;
  bool in_expectation = false;
  for (std::string line; std::getline(in, line);) {
    if (in_expectation) {
      if (line.empty()) {
        out += "\n";
        in_expectation = false;
      }
      continue;
    }
    out += line + "\n";
    if (line == "----") {
      out += said + scenario.state();
      said.clear();
      in_expectation = true;
    } else if (!line.empty() && line[0] != '#') {
      said += scenario.run(line);
    }
  }
  return out;
}

std::string first_difference(const std::string& want, const std::string& got) {
  std::istringstream a(want);
  std::istringstream b(got);
  std::string left;
  std::string right;
  for (int number = 1;; ++number) {
    const bool more_left = static_cast<bool>(std::getline(a, left));
    const bool more_right = static_cast<bool>(std::getline(b, right));
    if (!more_left && !more_right) return {};
    if (left != right || more_left != more_right) {
      return std::to_string(number) + ":\n  file:  " + left + "\n  model: " + right + "\n";
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool rewrite = argc > 2 && std::string(argv[2]) == "--rewrite";
  int failures = 0;
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(argc > 1 ? argv[1] : ".")) {
    if (entry.path().extension() != ".txt") continue;
    ++files;
    std::ifstream in(entry.path());
    const std::string want((std::istreambuf_iterator<char>(in)), {});
    std::istringstream script(want);
    const std::string got = play(script);
    if (rewrite) {
      std::ofstream(entry.path()) << got;
    } else if (got != want) {
      std::cout << entry.path().string() << ":" << first_difference(want, got);
      ++failures;
    }
  }
  if (files == 0) std::cout << "no scenario found\n";
  return failures == 0 && files > 0 ? 0 : 1;
}
