#include "ctl/migrate/program.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <nlohmann/json.hpp>

#include "common/signals.h"
#include "config/environment.h"
#include "config/keys.h"
#include "ctl/migrate/output_target.h"
#include "ctl/migrate/program_options.h"
#include "ctl/migrate/text.h"

namespace mtd::ctl {
namespace {

constexpr std::uint32_t kDefaultDescriptors = 1024;  // of supervisord's minfds
constexpr std::uint32_t kDefaultProcesses = 200;     // of its minprocs
constexpr std::uint32_t kSecondsInYear = 365 * 24 * 3600;
// Who lets so many starts fail in a row never wants to give up.
constexpr std::uint32_t kForEverRetries = 60;
constexpr std::uint32_t kLongestDelay = 30;  // seconds, backoff.max
constexpr std::uint32_t kMinute = 60;
// supervisord gives the socket as descriptor 0, mtd as 3.
constexpr const char* kSocketToInput =
    "unset LISTEN_FDS LISTEN_FDNAMES LISTEN_PID; exec \"$$0\" \"$$@\" <&3 3<&-";

class Program {
 public:
  Program(const IniSection& section, const ProgramName& name, const ProgramSurroundings& around,
          ProgramTally& tally, Notes& notes)
      : section_(section), name_(name), around_(around), tally_(tally), notes_(notes) {}

  std::vector<Pool> run() {
    account_for_options();
    const std::uint32_t count = number("numprocs", 1, config::kMaxWorkers);
    const std::uint32_t start = number("numprocs_start", 0, kMaxStart);
    const std::vector<Block> blocks = blocks_for(start, count);
    split_ = blocks.size() > 1;
    std::vector<Pool> pools;
    for (const Block& block : blocks) {
      block_ = block;
      if (auto keys = pool_keys(); !keys.is_null()) {
        pools.push_back({pool_name(), std::move(keys)});
      }
    }
    if (split_) {
      notes_.left(place("numprocs"), "numprocs: becomes " + std::to_string(blocks.size()) +
                                         " pools, because mtd writes the number of a worker "
                                         "without zeros, and from 0 on");
    }
    return pools;
  }

 private:
  static constexpr std::uint32_t kMaxStart = 1'000'000;

  [[nodiscard]] const IniOption* find(std::string_view option) const {
    return section_.find(option);
  }
  // The program's option, else what [supervisord] says for all.
  [[nodiscard]] const IniOption* find_or_daemon(std::string_view option) const {
    const IniOption* own = find(option);
    return own != nullptr || around_.daemon == nullptr ? own : around_.daemon->find(option);
  }
  [[nodiscard]] IniPlace place(std::string_view option) const {
    const IniOption* found = find(option);
    return found == nullptr ? section_.place : found->place;
  }
  void left(const IniOption& option, const std::string& text) {
    notes_.left(option.place, option.name + ": " + text);
  }

  void account_for_options() {
    for (const IniOption& option : section_.options) {
      const ProgramOption* known = find_program_option(option.name);
      if (known == nullptr) {
        const std::string_view close = close_program_option(option.name);
        notes_.left(option.place,
                    "supervisord has no option " + cited(option.name) +
                        (close.empty() ? std::string() : ", did you mean " + cited(close) + "?"));
      } else if (known->fate == Fate::lost && !known->is_harmless(option.value)) {
        left(option, std::string(known->why));
      }
    }
  }

  // A whole number from 0 to `max`; an error, and the fallback, for anything else.
  std::uint32_t number(std::string_view name, std::uint32_t fallback, std::uint32_t max) {
    const IniOption* option = find(name);
    return option == nullptr ? fallback : number(*option, fallback, max);
  }
  std::uint32_t number(const IniOption& option, std::uint32_t fallback, std::uint32_t max) {
    const auto expanded = expand_expressions(option.value, expansions_at(option, block_));
    const std::string text = expanded ? expanded->text : option.value;
    if (has_reference(text)) {
      left(option, "mtd takes no variable here; " + std::to_string(fallback) + " is assumed");
      return fallback;
    }
    std::uint32_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [after, error] = std::from_chars(text.data(), end, value);
    if (error == std::errc{} && after == end && value <= max) return value;
    notes_.error(option.place, option.name + " must be a whole number from 0 to " +
                                   std::to_string(max) + ", not " + cited(option.value));
    return fallback;
  }

  [[nodiscard]] Expansions expansions_at(const IniOption& option, Block numbers) const {
    return {{{"here", directory_of(*around_.document, option.place)},
             {"program_name", name_.program},
             {"group_name", name_.group},
             {"host_node_name", around_.host},
             {"numprocs", std::to_string(total_)}},
            numbers,
            true};
  }

  // The value with its expressions put in; empty after a note when that cannot be.
  std::optional<std::string> expanded(const IniOption& option, bool exact = true) {
    Expansions expansions = expansions_at(option, block_);
    expansions.exact = exact;
    const auto text = expand_expressions(option.value, expansions);
    if (!text) {
      left(option, text.error().message);
      return std::nullopt;
    }
    for (const std::string& variable : text->variables)
      note_variable(option, variable);
    return text->text;
  }

  void note_variable(const IniOption& option, const std::string& variable) {
    if (own_variables_.count(variable) != 0) return;
    const auto identity_variables = config::standard_variables({});
    if (!config::is_variable_name(variable) || config::is_reserved_variable(variable)) {
      left(option, "mtd has no variable " + cited(variable) + "; its configuration is refused");
    } else if (identity_variables.find(variable) != identity_variables.end()) {
      left(option, "${" + variable + "} is that of the worker's user here, it was supervisord's");
    } else {
      tally_.variables.emplace(variable, name_.pool);
    }
  }

  // Only where a number must be exact; a log's name need not be.
  std::vector<Block> blocks_for(std::uint32_t start, std::uint32_t count) {
    total_ = count;
    bool numbered = false;
    std::uint32_t width = 0;
    for (const char* name : {"command", "environment", "directory"}) {
      const IniOption* option = find(name);
      if (option == nullptr) continue;
      const auto text = expand_expressions(option->value, expansions_at(*option, {start, 1}));
      if (!text) continue;
      numbered = numbered || text->numbered;
      width = std::max(width, text->width);
    }
    if (count == 1) return {{start, 1}};
    return numbered ? blocks_of(start, count, width) : std::vector<Block>{{0, count}};
  }

  [[nodiscard]] std::string pool_name() const {
    return split_ ? name_.pool + "-" + std::to_string(block_.first) : name_.pool;
  }

  OrderedJson pool_keys() {
    keys_ = OrderedJson::object();
    const IniOption* command = find("command");
    if (command == nullptr) {
      notes_.error(section_.place, "[" + section_.name + "] has no command");
      return nullptr;
    }
    take_environment();  // first: what it defines, other options may use
    OrderedJson environment = std::move(keys_);
    keys_ = OrderedJson::object();
    if (!take_command(*command)) return nullptr;
    if (block_.count != 1) keys_["workers"] = block_.count;
    if (!ini_flag(section_, "autostart", true, notes_)) keys_["enabled"] = false;
    take_directory();
    take_user();
    if (environment.contains("env")) keys_["env"] = std::move(environment["env"]);
    take_restart();
    take_start();
    take_stop();
    take_socket();
    take_output();
    take_limits();
    return keys_;
  }

  bool take_command(const IniOption& option) {
    const auto text = expand_expressions(option.value, expansions_at(option, block_));
    const auto words = text ? split_words(text->text) : text.error();
    if (!words || words->empty()) {
      notes_.error(option.place, "command " + (words ? "is empty" : words.error().message));
      return false;
    }
    for (const std::string& variable : text->variables)
      note_variable(option, variable);
    const std::string& program = words->front();
    if (program.find('/') != std::string::npos && program.front() != '/' &&
        !has_reference(program) && find_or_daemon("directory") == nullptr) {
      left(option, cited(program) +
                       " is relative to where supervisord was started, and there is no directory; "
                       "write an absolute path");
    }
    OrderedJson command = OrderedJson::array();
    if (find("socket") != nullptr) command = {"/bin/sh", "-c", kSocketToInput};
    for (const std::string& word : *words)
      command.push_back(to_mtd(word));
    keys_["command"] = std::move(command);
    return true;
  }

  void take_environment() {
    own_variables_.clear();
    OrderedJson all = OrderedJson::object();
    const IniOption* general =
        around_.daemon == nullptr ? nullptr : around_.daemon->find("environment");
    for (const IniOption* option : {general, find("environment")}) {
      if (option == nullptr || option->value.empty()) continue;
      const auto text = expanded(*option);
      if (!text) continue;
      const auto pairs = split_pairs(*text);
      if (!pairs) {
        left(*option, pairs.error().message);
        continue;
      }
      for (const auto& [name, value] : *pairs)
        add_variable(*option, name, value, all);
    }
    if (!all.empty()) keys_["env"] = std::move(all);
  }

  void add_variable(const IniOption& option, const std::string& name, const std::string& value,
                    OrderedJson& all) {
    if (!config::is_variable_name(name)) {
      left(option, cited(to_mtd(name)) + " is no name of a variable");
    } else if (config::is_reserved_variable(name)) {
      left(option, name + " is set by mtd itself");
    } else {
      own_variables_.emplace(name, value);
      all[name] = to_mtd(value);
    }
  }

  void take_directory() {
    const IniOption* option = find_or_daemon("directory");
    if (option == nullptr) return;
    const auto text = expanded(*option);
    if (!text) return;
    if (text->starts_with("/") || has_reference(*text)) {
      keys_["cwd"] = to_mtd(*text);
    } else {
      left(*option, "is relative to where supervisord was started; cwd is an absolute path");
    }
  }

  void take_user() {
    if (const IniOption* option = find_or_daemon("user"); option != nullptr) {
      if (const auto text = expanded(*option); text && !text->empty())
        keys_["user"] = to_mtd(*text);
    }
    const IniOption* option = find_or_daemon("umask");
    if (option == nullptr) return;
    constexpr std::uint32_t kMost = 0777;
    constexpr int kOctal = 8;
    std::uint32_t mask = 0;
    const char* const end = option->value.data() + option->value.size();
    const auto [after, error] = std::from_chars(option->value.data(), end, mask, kOctal);
    if (error == std::errc{} && after == end && mask <= kMost) {
      keys_["umask"] = option->value;
    } else {
      left(*option, "must be octal and at most 0777, like 022, not " + cited(option->value));
    }
  }

  void take_restart() {
    const IniOption* option = find("autorestart");
    const std::string value = option == nullptr ? "unexpected" : lowered(option->value);
    if (value == "unexpected") {
      keys_["restart"] = "on-failure";
    } else if (!ini_flag(section_, "autorestart", true, notes_)) {
      keys_["restart"] = "never";
    }
    const IniOption* codes = find("exitcodes");
    if (codes == nullptr || codes->value == "0") return;
    OrderedJson list = OrderedJson::array();
    std::string_view rest = codes->value;
    while (!rest.empty()) {
      const std::size_t comma = std::min(rest.find(','), rest.size());
      const IniOption one{"exitcodes", std::string(trimmed(rest.substr(0, comma))), codes->place};
      constexpr std::uint32_t kLastCode = 255;
      list.push_back(number(one, 0, kLastCode));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
    keys_["success_codes"] = std::move(list);
  }

  void take_start() {
    const std::uint32_t seconds = number("startsecs", 1, kSecondsInYear);
    if (seconds != 1) keys_["min_uptime"] = std::to_string(seconds) + "s";
    const IniOption* option = find("startretries");
    if (option == nullptr) return;
    constexpr std::uint32_t kAnyNumber = 4'000'000'000;
    const std::uint32_t retries = number(*option, 3, kAnyNumber);
    if (retries > kForEverRetries) return;  // mtd never gives up by itself
    const std::uint32_t attempts = retries + 1;
    keys_["crash_limit"] = {
        {"count", std::max<std::uint32_t>(1, attempts * std::max<std::uint32_t>(1, block_.count))},
        {"window", std::to_string(std::max(kMinute, attempts * kLongestDelay)) + "s"},
        {"action", "fail"}};
    if (block_.count > 1) left(*option, "counts the crashes of the pool, not of each process");
  }

  void take_stop() {
    OrderedJson stop = OrderedJson::object();
    if (const IniOption* option = find("stopsignal"); option != nullptr) {
      const auto signal = parse_signal(trimmed(option->value));
      if (!signal) {
        left(*option, signal.error().message);
      } else if (signal_name(*signal) != "TERM") {
        stop["signal"] = signal_name(*signal);
      }
    }
    constexpr std::uint32_t kDefaultWait = 10;
    constexpr std::uint32_t kAnyNumber = 4'000'000'000;
    const std::uint32_t seconds = number("stopwaitsecs", kDefaultWait, kAnyNumber);
    if (seconds != kDefaultWait) {
      stop["timeout"] = seconds > kSecondsInYear ? "infinity" : std::to_string(seconds) + "s";
    }
    stop["scope"] = ini_flag(section_, "stopasgroup", false, notes_) ? "group" : "process";
    keys_["stop"] = std::move(stop);
  }

  void take_socket() {
    const IniOption* option = find("socket");
    if (option == nullptr) return;
    const auto text = expanded(*option);
    if (!text) return;
    constexpr std::string_view kTcp = "tcp://";
    constexpr std::string_view kUnix = "unix://";
    std::string socket;
    if (text->starts_with(kTcp)) {
      std::string address = text->substr(kTcp.size());
      constexpr std::string_view kLocal = "localhost:";
      if (address.starts_with(kLocal)) address.replace(0, kLocal.size(), "127.0.0.1:");
      socket = "tcp:" + address;
    } else if (text->starts_with(kUnix)) {
      socket = "unix:" + text->substr(kUnix.size()) + unix_options();
    } else {
      notes_.error(option->place,
                   "socket must begin with tcp:// or unix://, not " + cited(option->value));
      return;
    }
    if (const IniOption* backlog = find("socket_backlog"); backlog != nullptr) {
      socket += (socket.find('?') == std::string::npos ? "?backlog=" : "&backlog=") +
                std::to_string(number(*backlog, 1, 65535));
    }
    keys_["listen"] = to_mtd(socket);
    left(*option,
         "a shell gives it to the program as descriptor 0, as supervisord did; one that "
         "takes LISTEN_FDS needs no shell");
  }

  std::string unix_options() {
    const IniOption* mode = find("socket_mode");
    std::string options = "?mode=" + (mode == nullptr ? "0700" : mode->value);
    const IniOption* owner = find("socket_owner");
    if (owner == nullptr) owner = find_or_daemon("user");
    if (owner == nullptr) return options;
    const std::size_t colon = std::min(owner->value.find(':'), owner->value.size());
    options += "&user=" + owner->value.substr(0, colon);
    if (colon < owner->value.size()) options += "&group=" + owner->value.substr(colon + 1);
    return options;
  }

  void take_output() {
    // The names of logs need not be exact, only different.
    const OutputTarget target = output_target(
        section_, [&](const IniOption& option) { return expanded(option, split_); }, notes_);
    if (target.to.empty()) return;
    keys_["log"] = {{"to", target.to}};
    if (!target.path.empty()) keys_["log"]["path"] = to_mtd(target.path);
    if (target.rotated) tally_.rotated.insert(name_.pool);
  }

  void take_limits() {
    if (around_.daemon == nullptr) return;
    OrderedJson limits = OrderedJson::object();
    const auto take = [&](std::string_view option, const char* limit, std::uint32_t usual) {
      const IniOption* found = around_.daemon->find(option);
      if (found == nullptr) return;
      constexpr std::uint32_t kMost = 1U << 30;
      const std::uint32_t value = number(*found, usual, kMost);
      if (value > usual) limits[limit] = value;
    };
    take("minfds", "nofile", kDefaultDescriptors);
    take("minprocs", "nproc", kDefaultProcesses);
    if (!limits.empty()) keys_["rlimits"] = std::move(limits);
  }

  const IniSection& section_;
  const ProgramName& name_;
  const ProgramSurroundings& around_;
  ProgramTally& tally_;
  Notes& notes_;
  std::map<std::string, std::string> own_variables_;
  OrderedJson keys_;
  Block block_;
  std::uint32_t total_ = 1;
  bool split_ = false;  // into several pools
};

}  // namespace

std::vector<Pool> pools_of_program(const IniSection& section, const ProgramName& name,
                                   const ProgramSurroundings& around, ProgramTally& tally,
                                   Notes& notes) {
  return Program(section, name, around, tally, notes).run();
}

}  // namespace mtd::ctl
