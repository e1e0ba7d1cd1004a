// map: a task for each line of the input, the results as lines of the output.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "ctl/commands.h"
#include "ctl/interrupts.h"
#include "ctl/json_access.h"
#include "ctl/json_output.h"
#include "ctl/line_input.h"
#include "ctl/phrases.h"
#include "ctl/private_daemon.h"
#include "ctl/progress_bar.h"
#include "ctl/session.h"
#include "ctl/stall_note.h"
#include "ctl/task_calls.h"

namespace mtd::ctl {
namespace {

constexpr std::int64_t kMaxJobs = 4096;
constexpr std::int64_t kMaxWindow = 100000;
constexpr std::int64_t kMaxChunk = 10000;
constexpr std::size_t kMaxHeld = 64;      // windows of results that wait for an earlier one
constexpr std::size_t kMaxReported = 20;  // failures with their lines, at the end
constexpr Duration kBarEvery = Duration::milliseconds(100);

struct MapOptions {
  std::string pool;
  std::string name;
  std::size_t window = 0;
  std::size_t chunk = 1;
  std::optional<std::int64_t> timeout_ms;
  Duration patience;
  bool ordered = true;
  bool fail_fast = false;
  char separator = '\n';
};

struct Failed {
  std::int64_t number = 0;  // of its first line, from 1
  std::string line;
  std::string why;
};

class Map {
 public:
  Map(Context& context, Client& client, const MapOptions& options, StalledAt where)
      : context_(context),
        client_(client),
        options_(options),
        note_(context, options.patience, std::move(where), [this] { clear_bar(); }),
        interrupts_(context.out),
        input_(STDIN_FILENO, options.separator),
        shows_bar_(context.error_screen.cursor && !context.options().quiet) {
    note_.watch_pool(options.pool);
    if (shows_bar_) total_lines_ = count_lines(STDIN_FILENO, options.separator);
  }

  Outcome<CtlExit> run() {
    while (!is_over()) {
      submit_what_fits();
      if (is_over()) break;
      if (const Outcome<bool> turned = turn(); !turned) {
        clear_bar();
        return turned.failure();
      }
      show_bar();
    }
    clear_bar();
    return finish();
  }

 private:
  [[nodiscard]] bool is_over() const {
    return unfinished_ == 0 && (stopping_ || (input_.is_at_end() && chunk_.empty()));
  }

  // Bounded: what is with mtd, and what waits for the result of an earlier line to be printed.
  [[nodiscard]] bool has_room() const {
    return !stopping_ && unfinished_ < options_.window && held_.size() < options_.window * kMaxHeld;
  }

  void submit_what_fits() {
    while (has_room() && input_.has_line()) {
      chunk_.push_back(input_.take());
      if (chunk_.size() >= options_.chunk) submit();
    }
    if (has_room() && input_.is_at_end() && !chunk_.empty()) submit();
  }

  void submit() {
    Put put;
    put.pool = options_.pool;
    put.name = options_.name;
    put.timeout_ms = options_.timeout_ms;
    put.block_ms = -1;
    put.words = std::exchange(chunk_, {});
    const std::int64_t number = submitted_++;
    const std::int64_t line = lines_;
    lines_ += static_cast<std::int64_t>(put.words.size());
    const std::string first = put.words.front();
    ++unfinished_;
    futures_.emplace(number,
                     client_.submit(std::move(put), [this, number, line, first](const End& end) {
                       take(number, line, first, end);
                     }));
    if (early_ended_) futures_.erase(number);
    early_ended_ = false;
  }

  void take(std::int64_t number, std::int64_t line, const std::string& first, const End& end) {
    note_.heard();
    early_ended_ = futures_.erase(number) == 0;
    --unfinished_;
    ++done_;
    if (!end.is_done() && !(stopping_ && end.state == "cancelled")) {
      note_failure({line + 1, first, failure_phrase(end)}, end);
    }
    std::string text = printed(number, end);
    if (!options_.ordered) {
      print(text);
      return;
    }
    held_.emplace(number, std::move(text));
    for (auto next = held_.begin(); next != held_.end() && next->first == next_to_print_;
         next = held_.erase(next), ++next_to_print_) {
      print(next->second);
    }
  }

  [[nodiscard]] std::string printed(std::int64_t number, const End& end) const {
    if (context_.options().wants_json()) {
      Json object = end_as_json(end);
      object["index"] = number;
      return print_json(object, {false, context_.screen.terminal});
    }
    return end.is_done() ? printed_result(end) : std::string();
  }

  void print(const std::string& text) {
    if (text.empty()) return;
    clear_bar();
    context_.out.write(text);
    if (!context_.out.usable()) stop();
  }

  void note_failure(Failed failed, const End& end) {
    ++failed_;
    if (failures_.size() < kMaxReported) failures_.push_back(std::move(failed));
    if (end.is_refused() && refusal_.message.empty()) {
      // A pool that is not there or takes nothing will refuse every other line too.
      refusal_ = {end.reason == "NoSuchPool" ? CtlExit::no_such : exit_code_of(end),
                  failure_phrase(end)};
      if (refusal_.code == CtlExit::own_failure) refusal_.code = CtlExit::failed;
      if (end.reason != "TooBig") stop();
    }
    if (options_.fail_fast) stop();
  }

  void stop() {
    if (std::exchange(stopping_, true)) return;
    for (auto& [number, future] : futures_)
      to_cancel_.push_back(future);
  }

  Outcome<bool> turn() {
    // Not from within take(), which is called while the client is at work.
    for (Future& future : std::exchange(to_cancel_, {}))
      future.cancel();
    if (is_over()) return true;
    const bool reads = has_room() && input_.wants_to_read();
    std::vector<pollfd> others{{interrupts_.fd(), POLLIN, 0},
                               {reads ? input_.fd() : -1, POLLIN, 0},
                               {context_.out.fd(), 0, 0}};
    if (unfinished_ == 0) note_.heard();  // what is waited for is the input
    note_.add_to(others);
    const Instant bar = shows_bar_ ? monotonic_now() + kBarEvery : Instant::never();
    if (const Result<void> turned = client_.turn(others, note_.due_in_ms(bar)); !turned) {
      return client_failure(turned.error());
    }
    note_.look();
    if (others[0].revents != 0 && interrupts_.take() == Interruption::stop) {
      if (std::exchange(interrupted_, true)) {
        return Failure{static_cast<CtlExit>(130), "interrupted twice; mtd cancels what is left"};
      }
      clear_bar();
      if (!context_.options().quiet) {
        context_.err.line("mtctl: interrupted; cancelling " +
                          counted(static_cast<std::int64_t>(unfinished_), "task"));
      }
      stop();
    }
    if ((others[2].revents & (POLLERR | POLLHUP)) != 0) stop();
    if (others[1].revents != 0) input_.read();
    return true;
  }

  void show_bar() {
    const Instant now = monotonic_now();
    if (!shows_bar_ || now < next_bar_) return;
    next_bar_ = now + kBarEvery;
    MapProgress progress;
    progress.done = done_;
    progress.failed = failed_;
    progress.running = static_cast<std::int64_t>(unfinished_);
    progress.elapsed_ms = now.since(started_).count_ms();
    progress.connected = client_.is_connected();
    progress.stopping = stopping_;
    const auto chunk = static_cast<std::int64_t>(options_.chunk);
    if (total_lines_) progress.total = (*total_lines_ + chunk - 1) / chunk;
    if (input_.is_at_end() && chunk_.empty()) progress.total = submitted_;
    context_.err.write("\r\033[K" + progress_bar(progress, context_.error_screen));
    bar_shown_ = true;
  }

  void clear_bar() {
    if (std::exchange(bar_shown_, false)) context_.err.write("\r\033[K");
  }

  Outcome<CtlExit> finish() {
    if (input_.error() != 0) {
      return Failure{CtlExit::failed,
                     std::string("standard input: ") + std::strerror(input_.error())};
    }
    if (refusal_.code == CtlExit::refused_for_now || refusal_.code == CtlExit::no_such) {
      return refusal_;
    }
    if (failed_ > 0 && !context_.options().quiet) report_failures();
    if (interrupted_) return static_cast<CtlExit>(130);
    return failed_ > 0 ? CtlExit::failed : CtlExit::ok;
  }

  void report_failures() const {
    for (const Failed& failed : failures_) {
      context_.err.line("mtctl: line " + std::to_string(failed.number) + " '" +
                        escape_for_terminal(failed.line) + "': " + failed.why);
    }
    const std::int64_t more = failed_ - static_cast<std::int64_t>(failures_.size());
    if (more > 0) context_.err.line("mtctl: … and " + std::to_string(more) + " more");
    context_.err.line("mtctl: " + std::to_string(failed_) + " of " + counted(done_, "task") +
                      " failed");
  }

  Context& context_;
  Client& client_;
  const MapOptions& options_;
  StallNote note_;
  const Interrupts interrupts_;
  LineInput input_;
  std::vector<std::string> chunk_;
  std::int64_t submitted_ = 0;
  std::int64_t lines_ = 0;
  std::int64_t done_ = 0;
  std::int64_t failed_ = 0;
  std::int64_t next_to_print_ = 0;
  std::size_t unfinished_ = 0;
  bool early_ended_ = false;  // it ended while it was being submitted
  std::map<std::int64_t, Future> futures_;
  std::map<std::int64_t, std::string> held_;
  std::vector<Future> to_cancel_;
  std::vector<Failed> failures_;
  Failure refusal_{CtlExit::ok, {}};
  bool stopping_ = false;
  bool interrupted_ = false;
  const bool shows_bar_;
  bool bar_shown_ = false;
  std::optional<std::int64_t> total_lines_;
  const Instant started_ = monotonic_now();
  Instant next_bar_ = started_;
};

Failure usage(const std::string& message) {
  return {CtlExit::usage, message + "\nTry 'mtctl help map'."};
}

Outcome<MapOptions> options_of(const Context& context) {
  const Invocation& invocation = context.invocation;
  MapOptions options;
  options.name = invocation.value("--name");
  options.separator = invocation.has("--null") ? '\0' : '\n';
  options.ordered = !invocation.has("--unordered");
  options.fail_fast = invocation.has("--fail-fast");
  if (invocation.has("--ordered") && invocation.has("--unordered")) {
    return usage("--ordered and --unordered exclude each other; give one of them");
  }
  if (invocation.has("--keep-going") && options.fail_fast) {
    return usage("--keep-going and --fail-fast exclude each other; give one of them");
  }
  const auto chunk = number_of(context, "--chunk", 1, kMaxChunk);
  if (!chunk) return chunk.failure();
  options.chunk = static_cast<std::size_t>(chunk->value_or(1));
  const auto window = number_of(context, "--window", 1, kMaxWindow);
  if (!window) return window.failure();
  options.window = static_cast<std::size_t>(window->value_or(0));
  if (!context.options().timeout.is_infinite()) {
    options.timeout_ms = context.options().timeout.count_ms();
  }
  const Outcome<Duration> patience = patience_of(context);
  if (!patience) return patience.failure();
  options.patience = *patience;
  return options;
}

// Enough that no worker waits for the next task, not so many that an interrupt has much to undo.
std::size_t window_for(std::int64_t workers) {
  return static_cast<std::size_t>(std::max<std::int64_t>(16, 4 * workers));
}

Outcome<CtlExit> map_with(Context& context, const MapOptions& options, StalledAt where) {
  ClientOptions how;
  how.paths = where.tasks;
  how.attached = true;
  how.gather = true;
  how.patience_ms = options.patience.count_ms();
  Result<Client> client = Client::connect(std::move(how));
  if (!client) return client_failure(client.error());
  return Map(context, *client, options, std::move(where)).run();
}

Outcome<CtlExit> map_here(Context& context, MapOptions options) {
  const Invocation& invocation = context.invocation;
  if (!invocation.words.empty()) {
    return usage("give a pool, or -j with a command after --, not both");
  }
  if (!invocation.has("--jobs") && invocation.rest.empty()) {
    return usage("'map' needs a pool, or -j and a command after --");
  }
  if (invocation.rest.empty()) {
    return usage("'map -j' needs a command after --, such as: mtctl map -j 4 -- gzip < names");
  }
  PrivatePool pool;
  const auto jobs = number_of(context, "--jobs", 1, kMaxJobs);
  if (!jobs) return jobs.failure();
  const long processors = ::sysconf(_SC_NPROCESSORS_ONLN);
  pool.workers = jobs->value_or(std::max(1L, processors));
  const auto max_tasks = number_of(context, "--max-tasks", 1, 1'000'000'000);
  if (!max_tasks) return max_tasks.failure();
  pool.max_tasks = max_tasks->value_or(0);
  const auto retries = number_of(context, "--retries", 0, 1000);
  if (!retries) return retries.failure();
  pool.max_attempts = 1 + retries->value_or(0);
  pool.command = invocation.rest;
  Outcome<PrivateDaemon> daemon = PrivateDaemon::start(pool);
  if (!daemon) return daemon.failure();
  options.pool = PrivateDaemon::kPool;
  if (options.window == 0) options.window = window_for(pool.workers);
  const std::string directory = daemon->runtime_directory();
  return map_with(
      context, options,
      {{directory + "/io.mtd.Tasks"}, {directory + "/" + std::string(kSocketName)}, true});
}

Outcome<std::size_t> window_of_pool(Context& context, const std::string& pool) {
  const Outcome<Json> stats = call_tasks(context, "Stats", {{"pool", pool}});
  if (!stats) return stats.failure();
  const Json& pools = array(*stats, "pools");
  if (pools.empty()) return no_queue(pool);
  return window_for(integer(pools.front(), "workers").value_or(1));
}

}  // namespace

Outcome<CtlExit> run_map(Context& context) {
  const Invocation& invocation = context.invocation;
  Outcome<MapOptions> options = options_of(context);
  if (!options) return options.failure();
  if (invocation.has("--jobs") || invocation.words.empty()) {
    return map_here(context, *std::move(options));
  }
  for (const char* option : {"--max-tasks", "--retries"}) {
    if (invocation.has(option)) {
      return usage(std::string(option) + " goes with -j; a pool's configuration has its own");
    }
  }
  if (invocation.words.size() > 1 || !invocation.rest.empty()) {
    return usage("'map POOL' takes its arguments from the lines of its input");
  }
  options->pool = invocation.words.front();
  const Outcome<std::size_t> window = window_of_pool(context, options->pool);
  if (!window) return window.failure();
  if (options->window == 0) options->window = *window;
  return map_with(context, *options, stalled_at(context));
}

}  // namespace mtd::ctl
