// put and run: one task.
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <fstream>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "ctl/commands.h"
#include "ctl/interrupts.h"
#include "ctl/json_access.h"
#include "ctl/session.h"
#include "ctl/stall_note.h"
#include "ctl/task_calls.h"

namespace mtd::ctl {
namespace {

constexpr std::int64_t kLastSecond = 253402300799;  // of the year 9999
constexpr std::size_t kMostInput = 64u << 20;       // the largest body that can be configured
// mtd ends an attempt that took too long itself, and tells more of it than that.
constexpr Duration kTimeToTell = Duration::seconds(1);
constexpr Duration kTimeToCancel = Duration::seconds(10);

Failure too_much(const std::string& what) {
  return {CtlExit::failed, what +
                               ": more than a task's body may have (64M); tasks name large "
                               "files instead of carrying them"};
}

Outcome<std::string> all_of_input() {
  std::string data;
  std::array<char, 65536> block{};
  for (;;) {
    const ssize_t got = ::read(STDIN_FILENO, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return Failure{CtlExit::failed, std::string("standard input: ") + std::strerror(errno)};
    }
    if (got == 0) return data;
    data.append(block.data(), static_cast<std::size_t>(got));
    if (data.size() > kMostInput) return too_much("standard input");
  }
}

Outcome<std::string> all_of_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return Failure{CtlExit::failed, escape_for_terminal(path) + ": " + std::strerror(errno)};
  }
  std::string data;
  for (std::array<char, 65536> block{}; file;) {
    file.read(block.data(), block.size());
    data.append(block.data(), static_cast<std::size_t>(file.gcount()));
    if (data.size() > kMostInput) return too_much(escape_for_terminal(path));
  }
  if (file.bad()) {
    return Failure{CtlExit::failed, escape_for_terminal(path) + ": " + std::strerror(errno)};
  }
  return data;
}

// "2026-11-27T18:00:00Z", as events and status print times; or seconds since 1970 after an @.
std::optional<std::int64_t> unix_ms(const std::string& text) {
  if (text.starts_with("@")) {
    std::int64_t seconds = 0;
    const char* const end = text.data() + text.size();
    const auto [stopped, failure] = std::from_chars(text.data() + 1, end, seconds);
    if (failure != std::errc() || stopped != end || seconds > kLastSecond) return std::nullopt;
    return seconds * 1000;
  }
  std::tm time{};
  const char* const rest = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &time);
  if (rest == nullptr || std::strcmp(rest, "Z") != 0) return std::nullopt;
  return std::int64_t{::timegm(&time)} * 1000;
}

// The words after the pool: arguments; or "-" or "@FILE" alone: bytes.
Outcome<Put> put_of(Context& context) {
  const Invocation& invocation = context.invocation;
  Put put;
  put.pool = invocation.words.front();
  put.words.assign(invocation.words.begin() + 1, invocation.words.end());
  if (put.words.size() == 1 && (put.words[0] == "-" || put.words[0].starts_with("@"))) {
    Outcome<std::string> data =
        put.words[0] == "-" ? all_of_input() : all_of_file(put.words[0].substr(1));
    if (!data) return data.failure();
    put.body = *std::move(data);
    put.words.clear();
  }
  put.words.insert(put.words.end(), invocation.rest.begin(), invocation.rest.end());
  put.name = invocation.value("--name");
  put.uid = invocation.value("--id");
  put.unique = invocation.value("--unique");
  put.group = invocation.value("--group");
  struct Row {
    const char* option;
    std::optional<std::int64_t> Put::*member;
  };
  for (const Row& row : {Row{"--delay", &Put::delay_ms}, Row{"--expires", &Put::expires_ms},
                         Row{"--block", &Put::block_ms}}) {
    const Outcome<std::optional<std::int64_t>> value = milliseconds_of(context, row.option);
    if (!value) return value.failure();
    put.*row.member = *value;
  }
  const auto priority = number_of(context, "--priority", -100, 100);
  if (!priority) return priority.failure();
  put.priority = *priority;
  if (!context.options().timeout.is_infinite())
    put.timeout_ms = context.options().timeout.count_ms();
  if (const std::string at = invocation.value("--at"); !at.empty()) {
    put.at_ms = unix_ms(at);
    if (!put.at_ms) {
      return Failure{CtlExit::usage,
                     "--at: '" + escape_for_terminal(at) +
                         "' is no time such as 2026-11-27T18:00:00Z, or @ and Unix seconds"};
    }
  }
  return put;
}

enum class Ended { yes, interrupted, too_late };

// Until the future is ready.
Outcome<Ended> wait_for(Client& client, const Future& future, const Interrupts& interrupts,
                        StallNote& note, Instant deadline) {
  while (!future.is_ready()) {
    std::vector<pollfd> others{{interrupts.fd(), POLLIN, 0}};
    note.add_to(others);
    if (const Result<void> turned = client.turn(others, note.due_in_ms(deadline)); !turned) {
      return client_failure(turned.error());
    }
    if (others[0].revents != 0 && interrupts.take() == Interruption::stop)
      return Ended::interrupted;
    if (monotonic_now() >= deadline && !future.is_ready()) return Ended::too_late;
    note.look();
  }
  return Ended::yes;
}

Failure as_own(Failure failure) {
  failure.code = CtlExit::own_failure;
  return failure;
}

}  // namespace

Outcome<CtlExit> run_put(Context& context) {
  Outcome<Put> put = put_of(context);
  if (!put) return put.failure();
  ClientOptions options;
  options.keep = true;
  Outcome<Client> client = connect_client(context, std::move(options));
  if (!client) return client.failure();
  const std::string pool = put->pool;
  StallNote note(context, *patience_of(context), stalled_at(context));
  note.watch_pool(pool);
  const Future future = client->submit(*std::move(put));
  const Interrupts interrupts;
  while (future.id() == 0 && !future.is_ready()) {
    std::vector<pollfd> others{{interrupts.fd(), POLLIN, 0}};
    note.add_to(others);
    if (const Result<void> turned = client->turn(others, note.due_in_ms()); !turned) {
      return client_failure(turned.error());
    }
    if (others[0].revents != 0 && interrupts.take() == Interruption::stop) {
      return Failure{static_cast<CtlExit>(130), "interrupted; the task may have been accepted"};
    }
    note.look();
    if (note.is_unanswered()) {
      return Failure{CtlExit::unreachable,
                     "mtd does not answer for its tasks, and may have accepted this one or not; "
                     "with --id a second put of it is the same task"};
    }
  }
  if (future.id() == 0) {
    Future refused = future;
    const Result<End> end = refused.get(0);
    if (!end) return client_failure(end.error());
    if (end->reason == "NoSuchPool") {
      return no_queue(pool);
    }
    const CtlExit code = exit_code_of(*end);
    return Failure{code == CtlExit::own_failure ? CtlExit::failed : code, failure_phrase(*end)};
  }
  if (context.options().wants_json()) {
    context.print(Json{{"id", future.id()}});
  } else {
    context.out.line(std::to_string(future.id()));
  }
  return CtlExit::ok;
}

Outcome<CtlExit> run_run(Context& context) {
  Outcome<Put> put = put_of(context);
  if (!put) {
    return put.failure().code == CtlExit::usage ? put.failure() : as_own(put.failure());
  }
  ClientOptions options;
  options.attached = true;
  const Duration timeout = context.options().timeout;
  Outcome<Client> client = connect_client(context, std::move(options),
                                          timeout.is_infinite() ? timeout : timeout + kTimeToTell);
  if (!client && client.failure().code == CtlExit::timed_out)
    return Failure{CtlExit::task_timed_out, "timed out: mtd has not answered within --timeout"};
  if (!client) return as_own(client.failure());
  const Interrupts interrupts;
  StallNote note(context, *patience_of(context), stalled_at(context));
  note.watch_pool(put->pool);
  const Instant deadline =
      timeout.is_infinite() ? Instant::never() : monotonic_now() + timeout + kTimeToTell;
  Future future = client->submit(*std::move(put));
  Outcome<Ended> ended = wait_for(*client, future, interrupts, note, deadline);
  if (!ended) return as_own(ended.failure());
  if (*ended == Ended::too_late) {
    future.cancel();
    ended = wait_for(*client, future, interrupts, note, monotonic_now() + kTimeToCancel);
    const Result<End> late = future.get(0);
    if (!ended || *ended != Ended::yes || !late || late->state == "cancelled") {
      return Failure{CtlExit::task_timed_out,
                     "timed out: the task has not ended within --timeout; it is cancelled"};
    }
  }
  if (*ended == Ended::interrupted) {
    future.cancel();
    context.err.line("mtctl: interrupted; the task is being cancelled");
    ended = wait_for(*client, future, interrupts, note, Instant::never());
    if (!ended || *ended != Ended::yes) return static_cast<CtlExit>(130);
  }
  const Result<End> end = future.get(0);
  if (!end) return as_own(client_failure(end.error()));
  if (context.options().wants_json()) {
    context.print(end_as_json(*end));
    return exit_code_of(*end);
  }
  if (!end->is_done()) return Failure{exit_code_of(*end), failure_phrase(*end)};
  context.out.write(printed_result(*end));
  return CtlExit::ok;
}

}  // namespace mtd::ctl
