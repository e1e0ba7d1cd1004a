// The programs of a pool: its workers', and those that run beside them.
#include <algorithm>

#include "config/executable.h"
#include "config/expand.h"
#include "config/pool_resolver.h"
#include "config/probe_target.h"
#include "config/split.h"

namespace mtd::config {

void PoolResolver::command() {
  const Node* written = node("command");
  if (written == nullptr) {
    if (pool_.member("command") == nullptr)
      fail(pool_.name_place, "", "\"command\" is missing; it names the program to run");
    return;
  }
  // Quotes may keep a variable from us that a shell in the command expands later.
  if (const auto* line = written->as<std::string>())
    uses_slot_ = uses_slot_ || line->find("MTD_WORKER") != std::string::npos;
  Command found = command_of("command", *written);
  uses_slot_ = uses_slot_ || found.per_slot;
  spec_.command = std::move(found.arguments);
  spec_.executable = std::move(found.executable);
}

// Incomplete after an error.
PoolResolver::Command PoolResolver::command_of(std::string_view key, const Node& written) {
  Command command;
  std::vector<std::string> arguments = texts_of(written);
  if (const auto* line = written.as<std::string>()) {
    auto split = split_command(*line);
    if (!split) {
      fail(key, split.error().message + " in " + brief(written));
      return command;
    }
    arguments = std::move(*split);
    if (arguments.empty()) {
      fail(key, "names no program");
      return command;
    }
  }
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    auto expanded = environment_.expand(arguments[i]);
    if (!expanded) {
      fail(argument_place(written, i), key, expanded.error().message);
      return command;
    }
    command.per_slot = command.per_slot || expanded->per_slot;
    command.arguments.push_back(std::move(expanded->text));
  }
  command.executable = executable(key, argument_place(written, 0), command.arguments.front());
  return command;
}

std::string PoolResolver::executable(std::string_view key, Place place,
                                     const std::string& program) {
  if (has_markers(program)) {
    fail(place, key,
         "the program must be the same for all workers; use ${MTD_WORKER_ID} in its arguments");
    return {};
  }
  const auto path = environment_.expand("${PATH:-" + std::string(kDefaultPath) + "}");
  const std::string directory = has_markers(spec_.directory) ? "" : spec_.directory;
  const auto found = find_executable(program, path ? path->text : kDefaultPath, directory);
  if (!found) {
    fail(place, key, found.error().message);
    return {};
  }
  return *found;
}

// What these do differently from worker to worker does not matter to overlap.
void PoolResolver::commands_beside() {
  command_beside("stop.command", spec_.stop.command);
  for (const HookName& hook : kHooks)
    command_beside("hooks." + std::string(hook.name), spec_.hooks.*hook.member);
}

void PoolResolver::command_beside(const std::string& key, CommandSpec& one) {
  const Node* written = node(key);
  if (written == nullptr) return;
  Command found = command_of(key, *written);
  one.command = std::move(found.arguments);
  one.executable = std::move(found.executable);
}

void PoolResolver::probes() {
  probe("probes.live.", spec_.probes.live);
  probe("probes.ready.", spec_.probes.ready);
  if (node("ready") == nullptr && spec_.probes.ready.is_set()) spec_.ready = ReadyMode::probe;
}

void PoolResolver::probe(const std::string& prefix, ProbeSpec& probe) {
  const std::string group = prefix.substr(0, prefix.size() - 1);
  std::vector<std::string> kinds;
  for (const char* kind : {"exec", "http", "tcp", "unix"}) {
    if (node(prefix + kind) != nullptr) kinds.emplace_back(kind);
  }
  if (kinds.empty()) {
    const auto stray = std::find_if(given_.begin(), given_.end(), [&](const auto& each) {
      return each.first.starts_with(prefix);
    });
    if (stray != given_.end()) {
      fail(stray->second->place, group,
           "says how often and not what; give exec, http, tcp or unix");
    }
    return;
  }
  if (kinds.size() > 1) {
    return fail(place_of(prefix + kinds[1]), group,
                "has \"" + kinds[0] + "\" and \"" + kinds[1] + "\"; a probe is of one kind");
  }
  const std::string key = prefix + kinds[0];
  if (kinds[0] == "exec") {
    Command command = command_of(key, *node(key));
    probe.exec = std::move(command.arguments);
    probe.executable = std::move(command.executable);
  } else if (kinds[0] == "http") {
    probe.http = target(key, parse_http_target);
  } else if (kinds[0] == "tcp") {
    probe.tcp = target(key, parse_tcp_target);
  } else {
    probe.unix_path = target(key, parse_unix_target);
  }
}

// Expanded; that of the first worker is tried.
std::string PoolResolver::target(const std::string& key,
                                 Result<ProbeTarget> (*parse)(std::string_view text)) {
  const auto expanded = environment_.expand(*text(key));
  if (!expanded) {
    fail(key, expanded.error().message);
    return {};
  }
  const auto parsed = parse(unmarked(for_worker(expanded->text, 0, 1)));
  if (!parsed) {
    fail(key, parsed.error().message);
    return {};
  }
  return expanded->text;
}

}  // namespace mtd::config
