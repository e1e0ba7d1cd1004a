// Supervisor: what it leaves with the keeper for its next life, and what it finds of the one
// before. Damaged state is set aside in a file by a helper process and never fatal: the keeper's
// list and the configuration are enough to go on.
#include <spdlog/spdlog.h>

#include <array>
#include <cstdio>
#include <utility>

#include "common/escape.h"
#include "common/exit_codes.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/durable_file.h"
#include "daemon/sys/memfd.h"

namespace mtd::supervisor {
namespace {

// Lives that ended while they took over the same state: then it is the state that ends them.
constexpr std::uint32_t kMostAttempts = 16;
constexpr const char* kBadState = "state.bad.";
constexpr std::size_t kBadStates = 4;
constexpr std::size_t kMaxBadStateBytes = 16 << 20;

std::string hex(std::uint64_t number) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%llx", static_cast<unsigned long long>(number));
  return text.data();
}

}  // namespace

void Supervisor::open_state() {
  UniqueFd file = held("state");
  if (file) {
    const UniqueFd again = sys::duplicate(file.get());
    auto adopted = StateStore::adopt(std::move(file), remembered_);
    if (adopted && remembered_.daemon.attempts >= kMostAttempts) {
      remembered_ = {};
      remembered_.damage.push_back(std::to_string(kMostAttempts) +
                                   " supervisors in a row ended while they took it over");
      adopted = StateStore::create();
    }
    if (adopted) {
      state_is_new_ = !remembered_.goes_on;
      state_ = std::make_unique<StateStore>(std::move(*adopted));
    } else {
      remembered_.damage.push_back(adopted.error().message);
    }
    if (!remembered_.damage.empty()) {
      auto bytes = sys::read_memfd(again.get(), kMaxStateBytes);
      set_aside_state(bytes ? std::move(*bytes) : std::string());
    }
  } else if (hello_.epoch > 1) {
    report_state("the earlier supervisor left no state; counters start afresh");
  }
  if (!state_) {
    auto created = StateStore::create();
    if (!created) {
      fail_start(code(DaemonExit::failed), {created.error().message});
      return;
    }
    state_is_new_ = true;
    state_ = std::make_unique<StateStore>(std::move(*created));
  }
  if (!state_is_new_) {
    DaemonRecord begun = state_->daemon();
    ++begun.attempts;
    state_->put(begun);
    state_->commit();
    keeper_.hold("state", state_->fd());
  }
  asked_before_ = remembered_.daemon;
  config_revision_ = std::max<std::uint64_t>(remembered_.daemon.config_revision, 1);
  next_pool_id_ = std::max<std::uint32_t>(remembered_.daemon.next_pool_id, 1);
}

// Numbers go on; a number that was given out and whose event is lost is never given out again.
void Supervisor::open_events() {
  std::uint64_t epoch = hello_.instance;
  const auto& daemon = remembered_.daemon;
  const bool state_is_known = daemon.config_revision != 0;
  std::optional<std::uint64_t> last;
  if (state_is_known) last = daemon.event_number;
  DecodedEvents kept;
  if (UniqueFd file = held("events")) {
    auto adopted = EventLog::adopt(std::move(file), last, kept);
    if (adopted) {
      epoch = kept.epoch;
      event_log_ = std::make_unique<EventLog>(std::move(*adopted));
    } else {
      report_state("the events of the earlier supervisor are lost: " + adopted.error().message);
    }
  }
  const std::uint64_t newest = kept.events.empty() ? 0 : kept.events.back().number;
  if (!state_is_known) last = newest;
  if (hello_.epoch > 1 && *last == 0 && kept.events.empty())
    epoch = hello_.instance ^ (hello_.epoch * 0x9e3779b97f4a7c15ULL);
  if (newest != *last) kept.events.clear();
  if (!event_log_) {
    auto created = EventLog::create(epoch);
    if (created) {
      event_log_ = std::make_unique<EventLog>(std::move(*created));
    } else {
      spdlog::warn("events do not outlive this supervisor: {}", created.error().message);
    }
  }
  events_ = std::make_unique<EventRing>(hex(epoch));
  std::vector<EventRing::Event> events;
  events.reserve(kept.events.size());
  for (auto& event : kept.events)
    events.push_back({std::move(event.pool), std::move(event.worker), std::move(event.text)});
  events_->restore(*last, std::move(events));
  if (!event_log_) return;
  keeper_.hold("events", event_log_->fd());
  events_->set_keep([this](std::uint64_t number, const EventRing::Event& event) {
    event_log_->append({number, event.pool, event.worker, event.json});
  });
}

void Supervisor::commit() {
  if (!state_ || !events_) return;
  DaemonRecord record = state_->daemon();
  record.config_revision = config_revision_;
  record.next_pool_id = next_pool_id_;
  record.ending = stopping_now_ ? Ending::at_once : stopping_ ? Ending::gently : Ending::no;
  record.event_number = events_->last_number();
  record.reloading = reloading_;
  record.exit_code = static_cast<std::uint8_t>(final_code_);
  if (serving_ && server_) record.attempts = 0;
  state_->put(record);
  state_->commit();
}

// What was asked of the one before, and is not done.
void Supervisor::resume_ending() {
  final_code_ = asked_before_.exit_code;
  if (asked_before_.ending != Ending::no) {
    begin_stop(asked_before_.ending == Ending::at_once);
  } else if (asked_before_.reloading) {
    reload({}, [](const ReloadOutcome&) {});
  }
  commit();
}

void Supervisor::report_state(const std::string& what) {
  state_warning_ = what;
  spdlog::warn("{}", escape_for_terminal(what));
}

void Supervisor::set_aside_state(std::string bytes) {
  std::string problems;
  for (const auto& problem : remembered_.damage)
    problems += (problems.empty() ? "" : "; ") + problem;
  const std::string directory = state_dir_.empty() ? runtime_dir_ : state_dir_;
  const std::string name = kBadState + std::to_string(sys::realtime_ns() / 1'000'000'000);
  report_state("the state of the earlier supervisor is damaged (" + problems +
               "): it is set aside as " + directory + "/" + name +
               "; the workers go on, some counters start afresh");
  if (bytes.size() > kMaxBadStateBytes) bytes.resize(kMaxBadStateBytes);
  auto writer = sys::HelperProcess::start(
      loop_, sys::kHelperDeadline,
      [directory, name, bytes = std::move(bytes)] {
        const auto written = sys::write_durably(directory, name, bytes);
        sys::keep_newest(directory, kBadState, kBadStates);
        return written ? std::string() : written.error().message;
      },
      [](const Result<std::string>& problem) {
        const std::string text = problem ? *problem : problem.error().message;
        if (!text.empty())
          spdlog::warn("the damaged state cannot be set aside: {}", escape_for_terminal(text));
      });
  if (writer) {
    state_writer_ = std::move(*writer);
  } else {
    spdlog::warn("the damaged state cannot be set aside: {}", writer.error().message);
  }
}

}  // namespace mtd::supervisor
