#include "config/resolve.h"

#include "common/escape.h"
#include "config/cross_check.h"
#include "config/pool_resolver.h"
#include "config/read_keys.h"

namespace mtd::config {

PoolResolver::PoolResolver(const Node& pool, const ResolveOptions& options, Problems& problems,
                           std::vector<std::string>& files)
    : pool_(pool), options_(options), problems_(problems), files_(files), environment_(pool.name) {
  spec_.name = pool.name;
}

PoolSpec PoolResolver::run() {
  const std::size_t errors_before = problems_.count();
  given_ = read_keys(pool_keys(), pool_, "pools." + pool_.name, problems_, spec_);
  identity();
  environment();
  directory();
  command();
  commands_beside();
  probes();
  log();
  limits();
  sandbox();
  recycle();
  stop();
  reload();
  listen();
  tasks();
  scaling();
  overlap();
  if (problems_.count() == errors_before) {
    for (const CrossError& error : cross_check(spec_))
      fail(place_of(error.path), error.path, error.message);
    spec_.spawn_fingerprint = fingerprint(spec_);
  }
  return std::move(spec_);
}

const Node* PoolResolver::node(std::string_view path) const {
  const auto found = given_.find(path);
  return found == given_.end() ? nullptr : found->second;
}

Place PoolResolver::place_of(std::string_view path) const {
  const Node* found = node(path);
  return found != nullptr ? found->place : pool_.name_place;
}

std::optional<std::string> PoolResolver::text(std::string_view path) const {
  const Node* found = node(path);
  if (found == nullptr) return std::nullopt;
  return *found->as<std::string>();
}

void PoolResolver::fail(Place place, std::string_view path, const std::string& message) {
  std::string context = "pools." + pool_.name;
  if (!path.empty()) context += "." + std::string(path);
  problems_.error(place, context + ": " + message);
}

void PoolResolver::fail(std::string_view path, const std::string& message) {
  fail(place_of(path), path, message);
}

std::string PoolResolver::path_of(std::string_view key) {
  return path_of(key, *text(key));
}

std::string PoolResolver::path_of(std::string_view key, const std::string& written) {
  const auto expanded = environment_.expand(written);
  if (!expanded) {
    fail(key, expanded.error().message);
    return {};
  }
  if (!expanded->text.starts_with("/")) {
    fail(key,
         "must be an absolute path, not \"" + escape_for_terminal(readable(expanded->text)) + "\"");
    return {};
  }
  if (key == "cwd" && expanded->per_slot) uses_slot_ = true;
  return expanded->text;
}

Place PoolResolver::argument_place(const Node& written, std::size_t i) {
  const auto* list = written.as<Array>();
  return list != nullptr ? list->items[i].place : written.place;
}

void PoolResolver::log() {
  const bool direct = spec_.log.to == LogTarget::direct;
  if (node("log.path") != nullptr && !direct) {
    return fail("log.path", "is only for \"to\": \"direct\"");
  }
  if (direct && node("log.path") == nullptr) {
    return fail("log.to", "\"direct\" needs \"path\", an absolute path");
  }
  if (direct) spec_.log.path = path_of("log.path");
}

void PoolResolver::recycle() {
  const Node* alias = node("recycle.maxtasksperchild");
  if (alias == nullptr) return;
  if (node("recycle.max_tasks") != nullptr) {
    return fail("recycle.maxtasksperchild", "is another name of \"max_tasks\"; give one of them");
  }
  spec_.recycle.max_tasks = static_cast<std::uint64_t>(*alias->as<std::int64_t>());
  if (node("recycle.jitter") == nullptr) spec_.recycle.jitter = 0;
}

void PoolResolver::stop() {
  if (node("stop.steps") == nullptr) return;
  for (const std::string_view other : {"stop.signal", "stop.timeout"}) {
    if (node(other) != nullptr) fail(other, "is part of \"steps\" already; give either of them");
  }
}

void PoolResolver::reload() {
  if (node("reload.signal") != nullptr && spec_.reload.mode != ReloadMode::signal)
    fail("reload.signal", "is only for \"mode\": \"signal\"");
}

void PoolResolver::scaling() {
  const Node* written = pool_.member("workers");
  if (written == nullptr || written->as<Object>() == nullptr) return;
  if (node("workers.max") == nullptr) {
    return fail(written->place, "workers",
                "as an object it needs \"max\", the most workers, like {\"min\": 1, \"max\": 8}");
  }
  if (node("workers.min") == nullptr) spec_.scaling.min = spec_.workers = 1;
}

// An object without a mode is one of workers that speak the protocol, and say when they are
// ready.
void PoolResolver::tasks() {
  TasksSpec& tasks = spec_.tasks;
  const bool any = pool_.member("tasks") != nullptr;
  if (any && tasks.mode == TaskMode::none) tasks.mode = TaskMode::task;
  if (!tasks.has_queue()) return;
  if (node("ready") == nullptr) spec_.ready = ReadyMode::notify;
}

void PoolResolver::overlap() {
  const Node* given = node("overlap");
  const bool single = spec_.scaling.max == 0 && spec_.workers == 1 && spec_.listen.empty() &&
                      !spec_.tasks.has_queue();
  spec_.overlap = given != nullptr ? *given->as<bool>() : !uses_slot_ && !single;
}

PoolSpec resolve_pool(const Node& pool, const ResolveOptions& options, Problems& problems,
                      std::vector<std::string>& files) {
  return PoolResolver(pool, options, problems, files).run();
}

}  // namespace mtd::config
