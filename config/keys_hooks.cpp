#include "config/keys_hooks.h"

#include <nlohmann/json.hpp>

#include "config/binding.h"
#include "config/resolved_json.h"

namespace mtd::config {
namespace {

using Json = nlohmann::json;
using S = PoolSpec;

// What a command does is worked out by resolve.cpp.
template <auto Group, auto Member>
PoolKey command_row(std::string_view path, std::string_view doc) {
  return {{path, Type::command, 0, 0, {}, "none", Apply::hot, doc},
          nullptr,
          [](const S& spec, const KeyInfo&) {
            const CommandSpec& one = (spec.*Group).*Member;
            return one.command.empty() ? Json() : json_marked_list(one.command);
          }};
}

}  // namespace

std::vector<PoolKey> hook_keys() {
  constexpr Binding<S> kTimeout = bind<S, &S::hooks, &HooksSpec::timeout>();
  return {
      command_row<&S::stop, &StopSpec::command>(
          "stop.command",
          "A command that asks a worker to end, in place of the first stop signal; the worker has "
          "the usual time. See \"Stop\" above."),
      command_row<&S::hooks, &HooksSpec::on_start>(
          "hooks.on_start",
          "A command that is run when a worker has become ready; see \"Hooks\" above."),
      command_row<&S::hooks, &HooksSpec::on_exit>(
          "hooks.on_exit",
          "A command that is run when a process of a worker has ended, planned or not."),
      command_row<&S::hooks, &HooksSpec::on_failed>(
          "hooks.on_failed",
          "A command that is run when a worker or the pool has failed for good, its crash breaker "
          "has opened, or a new revision did not come up."),
      {{"hooks.timeout",
        Type::duration,
        100,
        3'600'000,
        {},
        "\"30s\"",
        Apply::hot,
        "How long each of these may run; then it is killed with all that it started."},
       kTimeout.set,
       kTimeout.get},
  };
}

}  // namespace mtd::config
