#include "config/keys_order.h"

#include <algorithm>
#include <array>
#include <sstream>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "common/names.h"
#include "config/binding.h"
#include "config/read_keys.h"

namespace mtd::config {
namespace {

using Json = nlohmann::json;

constexpr int kKill = 9;
constexpr std::array<std::string_view, 3> kStates{"started", "ready", "completed"};
constexpr std::array<std::string_view, 2> kLosses{"keep", "stop"};

std::string shown_name(std::string_view text) {
  return "\"" + escape_for_terminal(std::string(text.substr(0, 64))) + "\"";
}

// Apart from its callers, for which GCC 12 warns of a free that is none (-Wfree-nonheap-object).
[[gnu::noinline]] Result<Scalar> packed(std::string text) {
  return Scalar(std::move(text));
}

// ---- stop.steps: "15 10000000000 3 5000000000" -------------------------------------------------
Result<StopStep> parse_step(const Node& node, bool last) {
  const auto* pair = node.as<Array>();
  const bool shaped = pair != nullptr && (pair->items.size() == 1 || pair->items.size() == 2) &&
                      pair->items.front().as<std::string>() != nullptr;
  if (!shaped) return Error{"each step is a signal and a time, like [\"TERM\", \"10s\"]"};
  const auto signal = parse_signal(*pair->items.front().as<std::string>());
  if (!signal) return signal.error();
  const std::string name = "SIG" + signal_name(*signal);
  if (signal->value == kKill) {
    if (last && pair->items.size() == 1) return StopStep{*signal, Duration()};
    return Error{last ? "[\"KILL\"] has no time: nothing comes after it"
                      : "[\"KILL\"] is the last step: nothing comes after it"};
  }
  if (pair->items.size() == 1)
    return Error{name + " needs a time, like [\"" + name.substr(3) + "\", \"10s\"]"};
  const Node& time = pair->items.back();
  Result<Duration> wait = Error{"the time after " + name + " must be a duration like \"10s\""};
  if (const auto* text = time.as<std::string>()) wait = parse_duration(*text);
  if (const auto* seconds = time.as<std::int64_t>(); seconds != nullptr && *seconds > 0)
    wait = Duration::seconds(std::min<std::int64_t>(*seconds, 365 * 24 * 3600));
  if (!wait) return wait.error();
  if (wait->is_zero()) return Error{"the time after " + name + " is zero; leave the step out"};
  return StopStep{*signal, *wait};
}

std::vector<StopStep> steps_of(const Scalar& scalar) {
  std::vector<StopStep> steps;
  std::istringstream in(std::get<std::string>(scalar));
  StopStep step;
  for (std::int64_t ns = 0; in >> step.signal.value >> ns;) {
    step.timeout = Duration::nanoseconds(ns);
    steps.push_back(step);
  }
  return steps;
}

Json json_steps(const PoolSpec& spec, const KeyInfo&) {
  if (spec.stop.steps.empty()) return {};
  Json list = Json::array();
  for (const StopStep& step : spec.stop.steps)
    list.push_back({signal_name(step.signal), format_duration(step.timeout)});
  list.push_back({"KILL"});
  return list;
}

// ---- depends_on: "db ready keep "
// ----------------------------------------------------------------
template <std::size_t N>
std::optional<std::size_t> index_of(const std::array<std::string_view, N>& words,
                                    const Node* node) {
  const auto* text = node == nullptr ? nullptr : node->as<std::string>();
  if (text == nullptr) return std::nullopt;
  const auto found = std::find(words.begin(), words.end(), *text);
  if (found == words.end()) return std::nullopt;
  return static_cast<std::size_t>(found - words.begin());
}

Result<Dependency> parse_dependency(const Node& node) {
  constexpr const char* kExpected =
      " must be \"started\", \"ready\" or \"completed\", or {\"until\": one of these, "
      "\"if_lost\": \"keep\" or \"stop\"}";
  Dependency dependency;
  dependency.pool = node.name;
  if (!is_valid_name(node.name)) return Error{shown_name(node.name) + " is no name of a pool"};
  const auto* object = node.as<Object>();
  const auto until = index_of(kStates, object == nullptr ? &node : node.member("until"));
  if (!until) return Error{shown_name(node.name) + kExpected};
  dependency.until = static_cast<DependencyState>(*until);
  if (object == nullptr) return dependency;
  for (const Node& member : object->members) {
    if (member.name == "until" || is_ignored_key(member.name)) continue;
    const auto loss = member.name == "if_lost" ? index_of(kLosses, &member) : std::nullopt;
    if (!loss) return Error{shown_name(node.name) + kExpected};
    dependency.if_lost = static_cast<LossPolicy>(*loss);
  }
  if (dependency.until == DependencyState::completed && dependency.if_lost == LossPolicy::stop)
    return Error{shown_name(node.name) +
                 ": what has completed cannot be lost; leave \"if_lost\" out"};
  return dependency;
}

std::vector<Dependency> dependencies_of(const Scalar& scalar) {
  std::vector<Dependency> dependencies;
  std::istringstream in(std::get<std::string>(scalar));
  Dependency dependency;
  int until = 0, loss = 0;
  while (in >> dependency.pool >> until >> loss) {
    dependency.until = static_cast<DependencyState>(until);
    dependency.if_lost = static_cast<LossPolicy>(loss);
    dependencies.push_back(dependency);
  }
  return dependencies;
}

Json json_dependencies(const PoolSpec& spec, const KeyInfo&) {
  if (spec.depends_on.empty()) return {};
  Json object = Json::object();
  for (const Dependency& dependency : spec.depends_on) {
    const auto until = kStates.at(static_cast<std::size_t>(dependency.until));
    if (dependency.if_lost == LossPolicy::keep) {
      object[dependency.pool] = until;
    } else {
      object[dependency.pool] = {
          {"until", until}, {"if_lost", kLosses.at(static_cast<std::size_t>(dependency.if_lost))}};
    }
  }
  return object;
}

}  // namespace

Result<Scalar> check_stop_steps(const KeyInfo& key, const Node& node) {
  const auto* list = node.as<Array>();
  if (list == nullptr || list->items.empty() || list->items.size() > kMaxStopSteps)
    return Error{"must be " + key.expectation() + ", not " + brief(node)};
  std::string text;
  for (std::size_t i = 0; i < list->items.size(); ++i) {
    const bool last = i + 1 == list->items.size();
    const auto step = parse_step(list->items[i], last);
    if (!step) return step.error();
    if (step->signal.value == kKill) continue;
    const bool more = !last && !(i + 2 == list->items.size() &&
                                 parse_step(list->items[i + 1], true).has_value() &&
                                 parse_step(list->items[i + 1], true)->signal.value == kKill);
    if (step->timeout.is_infinite() && more)
      return Error{"a step that waits for ever is the last but KILL"};
    text +=
        std::to_string(step->signal.value) + " " + std::to_string(step->timeout.count_ns()) + " ";
  }
  if (text.empty()) return Error{"[\"KILL\"] alone is stop.signal \"KILL\""};
  return packed(std::move(text));
}

Result<Scalar> check_dependencies(const KeyInfo& key, const Node& node) {
  const auto* object = node.as<Object>();
  if (object == nullptr) return Error{"must be " + key.expectation() + ", not " + brief(node)};
  std::vector<Dependency> dependencies;
  for (const Node& member : object->members) {
    if (is_ignored_key(member.name)) continue;
    auto dependency = parse_dependency(member);
    if (!dependency) return dependency.error();
    dependencies.push_back(std::move(*dependency));
  }
  std::sort(dependencies.begin(), dependencies.end(),
            [](const Dependency& a, const Dependency& b) { return a.pool < b.pool; });
  std::string text;
  for (const Dependency& dependency : dependencies) {
    text += dependency.pool + " " + std::to_string(static_cast<int>(dependency.until)) + " " +
            std::to_string(static_cast<int>(dependency.if_lost)) + " ";
  }
  return packed(std::move(text));
}

std::vector<PoolKey> order_keys() {
  return {
      PoolKey{{"stop.steps",
               Type::stop_steps,
               0,
               0,
               {},
               "none",
               Apply::hot,
               "Several signals one after the other instead of stop.signal and stop.timeout, each "
               "with the time until the next one, like [[\"TERM\", \"10s\"], [\"QUIT\", \"5s\"], "
               "[\"KILL\"]]; KILL comes last in any case. What a worker leaves behind is killed at "
               "the end of the step in which the worker ended."},
              [](PoolSpec& spec, const Scalar& value, const KeyInfo&) {
                spec.stop.steps = steps_of(value);
              },
              json_steps},
      PoolKey{{"depends_on",
               Type::dependencies,
               0,
               0,
               {},
               "none",
               Apply::hot,
               "Pools that have to be \"started\", \"ready\" or \"completed\" before this one is "
               "started, like {\"db\": \"ready\"}; see \"Order\" above."},
              [](PoolSpec& spec, const Scalar& value, const KeyInfo&) {
                spec.depends_on = dependencies_of(value);
              },
              json_dependencies},
      PoolKey{{"essential",
               Type::boolean,
               0,
               0,
               {},
               "false",
               Apply::hot,
               "When this pool fails for good, mtd stops all others and ends with code 10."},
              bind<PoolSpec, &PoolSpec::essential>().set,
              bind<PoolSpec, &PoolSpec::essential>().get},
  };
}

}  // namespace mtd::config
