#include "config/keys_tasks.h"

#include <nlohmann/json.hpp>

#include "config/binding.h"

namespace mtd::config {
namespace {

using S = PoolSpec;
using Json = nlohmann::json;

constexpr double kHourMs = 3'600'000;
constexpr double kYearMs = 365 * 24 * kHourMs;
constexpr double kMib = 1 << 20;
constexpr double kTib = kMib * kMib;

// Shown for pools that have a queue only: so the keys are no difference for all others.
template <auto Member>
PoolKey row(KeyInfo info) {
  constexpr auto kBinding = bind<S, &S::tasks, Member>();
  return {std::move(info), kBinding.set, [](const S& spec, const KeyInfo& own) {
            if (spec.tasks.mode == TaskMode::none) return Json();
            return shown(spec.tasks.*Member, own);
          }};
}

template <auto Member>
PoolKey size_row(std::string_view path, double min, double max, std::string_view fallback,
                 std::string_view doc) {
  return row<Member>({path, Type::size, min, max, {}, fallback, Apply::hot, doc});
}

template <auto Member>
PoolKey duration_row(std::string_view path, double min, std::vector<std::string_view> words,
                     std::string_view fallback, std::string_view doc) {
  return row<Member>(
      {path, Type::duration, min, kYearMs, std::move(words), fallback, Apply::hot, doc});
}

template <auto Member>
PoolKey number_row(std::string_view path, double max, std::string_view fallback,
                   std::string_view doc) {
  return row<Member>({path, Type::integer, 1, max, {}, fallback, Apply::hot, doc});
}

template <auto Member>
PoolKey word_row(std::string_view path, std::vector<std::string_view> words,
                 std::string_view fallback, std::string_view doc) {
  return row<Member>({path, Type::word, 0, 0, std::move(words), fallback, Apply::hot, doc});
}

}  // namespace

std::vector<PoolKey> task_keys() {
  using T = TasksSpec;
  return {
      row<&T::mode>({"tasks.mode",
                     Type::word,
                     0,
                     0,
                     {"", "task", "exec", "filter", "notify"},
                     "\"task\" in a pool with a tasks object, else none",
                     Apply::rolling,
                     "How workers get tasks: \"task\", they speak mtd-task/1 (mtd-worker(7)); "
                     "\"exec\", the command is run once for each; \"filter\", it reads a line for "
                     "each and answers with one; \"notify\", they take work elsewhere and report "
                     "it, and there is no queue."}),
      duration_row<&T::timeout>("tasks.timeout", 1, {"infinity"}, "\"infinity\"",
                                "How long one attempt may take. Then the worker is told to give "
                                "up, and after tasks.grace killed."),
      duration_row<&T::grace>("tasks.grace", 0, {}, "\"5s\"",
                              "From the cancellation of a task to the kill of a worker that goes "
                              "on with it."),
      number_row<&T::max_attempts>("tasks.max_attempts", 1000, "3",
                                   "A task that has failed so often, or taken too long, is dead."),
      duration_row<&T::retry_delay>("tasks.retry_delay", 0, {}, "\"5s\"",
                                    "Pause before the second attempt; doubled for each further "
                                    "one, half of it at random."),
      duration_row<&T::retry_max>("tasks.retry_max", 0, {}, "\"10m\"", "The longest such pause."),
      number_row<&T::max_crashes>("tasks.max_crashes", 1000, "3",
                                  "A task whose worker has died of itself so often is dead."),
      number_row<&T::max_queue>("tasks.max_queue", 10'000'000, "100000",
                                "The most tasks that may wait."),
      size_row<&T::max_queue_bytes>("tasks.max_queue_bytes", kMib, kTib, "\"256M\"",
                                    "The most bytes of tasks that may wait."),
      word_row<&T::on_full>("tasks.on_full", {"refuse", "block"}, "\"refuse\"",
                            "What happens to a put into a full queue: it is refused, or waits for "
                            "room."),
      duration_row<&T::queue_timeout>("tasks.queue_timeout", 0, {"infinity"}, "\"infinity\"",
                                      "How long a put waits for room at most."),
      size_row<&T::max_body>("tasks.max_body", 1024, 64 * kMib, "\"8M\"",
                             "The largest body of a task, and of an answer."),
      number_row<&T::credit>("tasks.credit", 1024, "1",
                             "How many tasks a worker that names no number has at once."),
      word_row<&T::durability>("tasks.durability", {"fsync", "process", "memory"}, "\"fsync\"",
                               "What an accepted task survives: a loss of power, a kill of all of "
                               "mtd, or nothing of that kind."),
      size_row<&T::max_result>(
          "tasks.max_result", 1024, 64 * kMib, "\"1M\"",
          "What of a result's bytes is kept with its task; more goes to a file "
          "beside the database, up to 1G, or 64M of what a command writes, as "
          "far as tasks.quota has room. A task whose result cannot be kept is "
          "dead."),
      duration_row<&T::result_ttl>("tasks.result_ttl", 0, {}, "\"1h\"",
                                   "How long a task that is done, cancelled or expired is kept."),
      duration_row<&T::dead_ttl>("tasks.dead_ttl", 0, {}, "\"14d\"",
                                 "How long a dead task is kept."),
      word_row<&T::on_lost>("tasks.on_lost", {"retry", "dead"}, "\"retry\"",
                            "What becomes of a task whose worker died: another attempt, or none, "
                            "where doing it twice is worse than not at all; also where the power "
                            "goes."),
  };
}

}  // namespace mtd::config
