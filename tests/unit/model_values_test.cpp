// The parts of the pool model that have a life of their own: words, deadlines, delays, the crash
// window, what an exit means.
#include <doctest/doctest.h>

#include <cerrno>
#include <map>
#include <set>
#include <string>

#include "common/deadlines.h"
#include "daemon/supervisor/model/backoff.h"
#include "daemon/supervisor/model/breaker.h"
#include "daemon/supervisor/model/broker_pause.h"
#include "daemon/supervisor/model/broker_watch.h"
#include "daemon/supervisor/model/exits.h"
#include "daemon/supervisor/model/vocabulary.h"
#include "daemon/sys/keeper_protocol.h"

using namespace mtd;
using namespace mtd::model;

static_assert(kFirstOwnStage == static_cast<int>(keeper::Stage::session));

namespace {

Instant at_ms(std::int64_t ms) {
  return Instant() + Duration::milliseconds(ms);
}

template <class Value>
void check_words(Words<Value> words, std::size_t expected) {
  std::set<std::string> names;
  std::size_t row = 0;
  for (const Word<Value>& word : words) {
    CHECK(static_cast<std::size_t>(word.value) == row++);
    CHECK(names.insert(std::string(word.name)).second);
    CHECK_FALSE(word.summary.empty());
    CHECK(name_of(word.value) == word.name);
  }
  CHECK(row == expected);
}

Process process_in(ProcessState state) {
  Process process;
  process.incarnation = 1;
  process.state = state;
  return process;
}

Exited exit_with(int status) {
  Exited exit;
  exit.wait_status = status;
  return exit;
}

}  // namespace

TEST_CASE("every word has its row, in order, once") {
  check_words(worker_states(), static_cast<std::size_t>(WorkerState::busy) + 1);
  check_words(pool_states(), static_cast<std::size_t>(PoolState::frozen) + 1);
  check_words(exit_causes(), kExitCauses);
  check_words(happenings(), static_cast<std::size_t>(Happening::stop_command) + 1);
  CHECK(name_of(ExitCause::recycle_max_tasks) == "recycle:max_tasks");
}

TEST_CASE("the deadline index agrees with a sorted map") {
  DeadlineIndex index;
  std::map<std::uint32_t, Instant> reference;
  Entropy dice(7);
  for (int round = 0; round < 20'000; ++round) {
    const auto slot = static_cast<std::uint32_t>(dice.next() % 50);
    if (dice.next() % 4 == 0) {
      index.set(slot, Instant::never());
      reference.erase(slot);
    } else {
      const Instant deadline = at_ms(static_cast<std::int64_t>(dice.next() % 1000));
      index.set(slot, deadline);
      reference[slot] = deadline;
    }
    Instant earliest = Instant::never();
    for (const auto& [number, deadline] : reference)
      earliest = std::min(earliest, deadline);
    REQUIRE(index.earliest() == earliest);
    if (dice.next() % 8 != 0 || earliest.is_never()) continue;
    CHECK_FALSE(index.take_due(Instant::at_ns(earliest.count_ns() - 1)));
    const auto due = index.take_due(earliest);
    REQUIRE(due);
    REQUIRE(reference.at(*due) == earliest);
    reference.erase(*due);
  }
}

TEST_CASE("crash delays grow, stop at the maximum, and are stretched by jitter only") {
  config::Backoff backoff;
  backoff.jitter = 0;
  Entropy dice(1);
  CHECK(crash_delay(backoff, 0, dice) == Duration::milliseconds(500));
  CHECK(crash_delay(backoff, 1, dice) == Duration::seconds(1));
  CHECK(crash_delay(backoff, 5, dice) == Duration::seconds(16));
  CHECK(crash_delay(backoff, 6, dice) == Duration::seconds(30));
  CHECK(crash_delay(backoff, 4'000'000'000U, dice) == Duration::seconds(30));
  backoff.jitter = 0.5;
  for (int i = 0; i < 1000; ++i) {
    const Duration delay = crash_delay(backoff, 1, dice);
    CHECK(delay >= Duration::seconds(1));
    CHECK(delay <= Duration::milliseconds(1500));
  }
  backoff.max = Duration::infinite();
  CHECK(crash_delay(backoff, 64, dice) > Duration::seconds(30));
  backoff.initial = Duration();
  CHECK(crash_delay(backoff, 64, dice).is_zero());
}

TEST_CASE("refusals heal fast, lasting errors slowly") {
  config::Backoff backoff;
  backoff.jitter = 0;
  Entropy dice(1);
  const int clone = static_cast<int>(keeper::Stage::clone);
  const int exec = static_cast<int>(keeper::Stage::exec);
  CHECK(spawn_delay(backoff, clone, EAGAIN, 0, dice) == Duration::milliseconds(50));
  CHECK(spawn_delay(backoff, clone, EAGAIN, 6, dice) == Duration::milliseconds(3200));
  CHECK(spawn_delay(backoff, clone, EAGAIN, 7, dice) == Duration::seconds(5));
  CHECK(spawn_delay(backoff, exec, EAGAIN, 4'000'000'000U, dice) == Duration::seconds(5));
  CHECK(spawn_delay(backoff, exec, ENOENT, 0, dice) == Duration::milliseconds(500));
  CHECK(spawn_delay(backoff, exec, EACCES, 20, dice) == Duration::seconds(30));
  CHECK(spawn_delay(backoff, static_cast<int>(keeper::Stage::cgroup), ENOENT, 0, dice) ==
        Duration::milliseconds(50));
}

TEST_CASE("the crash window counts exactly where it is small and stays bounded where it is large") {
  CrashWindow window;
  const Duration length = Duration::seconds(10);
  window.add(at_ms(0), length, 5);
  window.add(at_ms(1), length, 5);
  CHECK(window.count(at_ms(9'999), length) == 2);
  CHECK(window.count(at_ms(10'000), length) == 1);
  CHECK(window.count(at_ms(10'001), length) == 0);
  window.clear();
  for (int i = 0; i < 100'000; ++i)
    window.add(Instant::at_ns(i * 1'000'000LL), length, 100'000);
  CHECK(window.entries().size() <= 257);
  const std::uint32_t counted = window.count(at_ms(99'999), length);
  CHECK(counted <= 10'000);
  CHECK(counted >= 9'960);
}

TEST_CASE("what mtd ended on purpose is planned, whatever the status says") {
  const config::PoolSpec spec;
  const Instant now = at_ms(60'000);
  for (const int status : {0, 9, 15, 1 << 8, 0x8b}) {
    CHECK(judge(process_in(Stopping{ExitCause::stop, {}}), exit_with(status), spec, now).verdict ==
          Verdict::planned);
    CHECK(judge(process_in(Killing{ExitCause::stop_timeout, {}}), exit_with(status), spec, now)
              .cause == ExitCause::stop_timeout);
  }
  const Process late = process_in(Stopping{ExitCause::start_timeout, {}});
  CHECK(judge(late, exit_with(0), spec, now).verdict == Verdict::crash);
}

TEST_CASE("exits by themselves: every code and signal") {
  const config::PoolSpec spec;
  const Instant now = at_ms(60'000);
  const Process up = process_in(Up{});
  for (int code = 0; code < 256; ++code) {
    const Judgement judgement = judge(up, exit_with(code << 8), spec, now);
    CHECK(judgement.cause == ExitCause::exit);
    CHECK(judgement.verdict == (code == 0 ? Verdict::clean : Verdict::crash));
  }
  for (int signal = 1; signal <= 64; ++signal) {
    CHECK(judge(up, exit_with(signal), spec, now).cause == ExitCause::signal);
    CHECK(judge(up, exit_with(signal | 0x80), spec, now).cause == ExitCause::core);
    Exited oom = exit_with(signal);
    oom.oom = true;
    CHECK(judge(up, oom, spec, now).cause == ExitCause::oom);
  }
  Exited setup = exit_with(127 << 8);
  setup.kind = ReportKind::setup_failed;
  CHECK(judge(up, setup, spec, now).verdict == Verdict::spawn_failed);
  setup.kind = ReportKind::unknown;
  CHECK(judge(up, setup, spec, now).cause == ExitCause::start_failed);
}

TEST_CASE("early is one nanosecond before min_uptime, and never shorter than the least") {
  config::PoolSpec spec;
  const Process up = process_in(Up{});
  CHECK(judge(up, exit_with(0), spec, Instant::at_ns(999'999'999)).verdict == Verdict::clean_early);
  CHECK(judge(up, exit_with(0), spec, Instant::at_ns(1'000'000'000)).verdict == Verdict::clean);
  spec.min_uptime = Duration();
  CHECK(judge(up, exit_with(0), spec, at_ms(99)).verdict == Verdict::clean_early);
  CHECK(judge(up, exit_with(0), spec, at_ms(100)).verdict == Verdict::clean);
}

TEST_CASE("a broker that served goes on at once, unless it dies all the time") {
  BrokerPause pause;
  for (int i = 0; i < 4; ++i)
    CHECK(pause.after(at_ms(i), BrokerEnd::served).is_zero());
  CHECK(pause.after(at_ms(4), BrokerEnd::served) == BrokerPause::kFirst);
  CHECK(pause.after(at_ms(1'004), BrokerEnd::served) == BrokerPause::kFirst);
  CHECK(pause.after(at_ms(11'005), BrokerEnd::served).is_zero());
}

TEST_CASE("a broker that never comes to serve is tried less and less often") {
  const auto ms = [](std::int64_t count) { return Duration::milliseconds(count); };
  BrokerPause told;
  for (const std::int64_t expected : {1'000, 2'000, 4'000, 8'000, 16'000, 30'000, 30'000})
    CHECK(told.after(at_ms(0), BrokerEnd::cannot_work) == ms(expected));
  CHECK(told.after(at_ms(60'000), BrokerEnd::served).is_zero());
  CHECK(told.after(at_ms(60'000), BrokerEnd::cannot_work) == ms(1'000));
  // Without a reason it may have been chance, at first.
  BrokerPause silent;
  for (const std::int64_t expected : {0, 0, 0, 0, 1'000, 2'000})
    CHECK(silent.after(at_ms(0), BrokerEnd::died) == ms(expected));
}

TEST_CASE("a broker without work is never asked, one with work some time after its last word") {
  using Step = BrokerWatch::Step;
  BrokerWatch watch;
  CHECK(watch.next().is_never());
  CHECK(watch.due(at_ms(1'000'000), true) == Step::nothing);
  watch.expect(at_ms(0));
  CHECK(watch.next() == at_ms(15'000));
  watch.heard(at_ms(14'000));
  watch.expect(at_ms(14'000));
  CHECK(watch.due(at_ms(15'000), true) == Step::nothing);
  CHECK(watch.next() == at_ms(29'000));
  CHECK(watch.due(at_ms(29'000), true) == Step::ask);
  watch.heard(at_ms(29'001));
  CHECK(watch.next().is_never());  // until there is work again
}

TEST_CASE("a broker that does not answer is ended, later where it may still read its tasks") {
  using Step = BrokerWatch::Step;
  for (const bool serves : {true, false}) {
    BrokerWatch watch;
    watch.expect(at_ms(0));
    CHECK(watch.due(at_ms(15'000), serves) == Step::ask);
    watch.expect(at_ms(16'000));  // more work is no answer
    const std::int64_t patience = serves ? 30'000 : 900'000;
    CHECK(watch.next() == at_ms(15'000 + patience));
    CHECK(watch.due(at_ms(14'999 + patience), serves) == Step::nothing);
    CHECK(watch.due(at_ms(15'000 + patience), serves) == Step::end);
    watch.expect(at_ms(16'000 + patience));
    CHECK(watch.due(at_ms(20'000 + patience), serves) == Step::give_up);
    CHECK(watch.next().is_never());
    watch.stop(at_ms(999'000 + patience));  // it was killed, and is not waited for again
    CHECK(watch.due(at_ms(1'004'000 + patience), serves) == Step::give_up);
  }
  // That the supervisor itself was stopped meanwhile says nothing about the broker.
  BrokerWatch watch;
  watch.expect(at_ms(0));
  CHECK(watch.due(at_ms(15'000), true) == Step::ask);
  CHECK(watch.due(at_ms(999'000), true) == Step::ask);
  CHECK(watch.due(at_ms(1'029'000), true) == Step::end);
}

TEST_CASE("a broker that is told to end must do so in time, and is not waited for without end") {
  using Step = BrokerWatch::Step;
  BrokerWatch deaf;
  deaf.stop(at_ms(1'000));
  CHECK(deaf.next() == at_ms(1'000));
  CHECK(deaf.due(at_ms(1'000), true) == Step::ask);
  CHECK(deaf.due(at_ms(31'000), true) == Step::end);
  CHECK(deaf.next() == at_ms(36'000));
  CHECK(deaf.due(at_ms(36'000), true) == Step::give_up);
  CHECK(deaf.next().is_never());
  // It answers, but its disk does not.
  BrokerWatch stuck;
  stuck.stop(at_ms(0));
  CHECK(stuck.due(at_ms(0), true) == Step::ask);
  stuck.heard(at_ms(1));
  CHECK(stuck.next() == at_ms(60'000));
  CHECK(stuck.due(at_ms(60'000), true) == Step::end);
  CHECK(stuck.due(at_ms(65'000), true) == Step::give_up);
}
