#include "ctl/verbs.h"

#include "common/control_methods.h"
#include "ctl/verb_details.h"

namespace mtd::ctl {
namespace {

struct LocalVerb {
  std::string_view name;
  std::string_view synopsis;
  std::string_view summary;
};

// Verbs without a control method of their own.
constexpr LocalVerb kLocalVerbs[] = {
    {"metrics", "[SEL…]", "Print the status in OpenMetrics, as Prometheus reads it"},
    {"config", "check [PATH] | show [POOL] | diff | schema | new | migrate FILE",
     "Check, show, compare and begin configuration files"},
    {"put", "POOL [ARG… | - | @FILE]", "Put a task into a pool's queue and print its number"},
    {"run", "POOL [ARG… | - | @FILE]", "Run a task in a pool and print its result"},
    {"map", "POOL | -j N [--max-tasks M] -- COMMAND [ARG…]",
     "A task for each line of the input, the results as output"},
    {"result", "ID", "Print the result of a task that has ended"},
    {"cancel", "ID… | --group G", "Cancel tasks that wait or run"},
    {"task", "ls [POOL] | show ID… | retry ID… | rm ID…",
     "List tasks, show one, try it again, remove it"},
    {"dead", "ls [POOL] | retry POOL|ID… | purge POOL|ID…",
     "Tasks that were given up: list them, try them again, remove them"},
    {"drain", "[--close] POOL", "Wait until no task of a pool waits or runs"},
    {"pool", "ls [POOL] | pause POOL | resume POOL",
     "Queues in numbers; stop and start handing out tasks"},
    {"worker", "[--filter] -- COMMAND [ARG…]", "Be a worker that runs a command for each task"},
    {"version", "", "Show the versions of mtctl and of the daemon"},
    {"completion", "bash|zsh|fish", "Print a completion script for a shell"},
    {"help", "[VERB]", "Explain mtctl or one of its verbs"},
};

}  // namespace

std::vector<Verb> all_verbs() {
  std::vector<Verb> verbs;
  for (const control::Method& method : control::kMethods) {
    if (method.verb.empty()) continue;
    verbs.push_back({method.verb, method.synopsis, method.summary, verb_detail(method.verb)});
  }
  for (const LocalVerb& local : kLocalVerbs) {
    verbs.push_back({local.name, local.synopsis, local.summary, verb_detail(local.name)});
  }
  return verbs;
}

std::vector<OptionRow> common_options() {
  return {
      {"-s,--socket", "SOCKET", "The control socket, or the directory that holds it", ""},
      {"-H,--host", "HOST", "Run the command on another host, ssh://[USER@]HOST[:PORT]", ""},
      {"-o,--output", "FORMAT", "How to print: table, wide, json, jsonl or name", kFormats},
      {"-q,--quiet", "", "Print nothing but errors", ""},
      {"--no-color", "", "No colour, even on a terminal", ""},
      {"--timeout", "TIME", "Give up after this time, for example 30s; exit 6", ""},
      {"--no-wait", "", "Do not wait until what was asked for is true", ""},
      {"-h,--help", "", "Explain the verb", ""},
  };
}

const Verb* find_verb(const std::vector<Verb>& verbs, std::string_view name) {
  for (const Verb& verb : verbs) {
    if (verb.name == name) return &verb;
  }
  return nullptr;
}

}  // namespace mtd::ctl
