#include "ctl/command_line.h"

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <utility>

#include <CLI/CLI.hpp>

#include "common/escape.h"
#include "common/names.h"

namespace mtd::ctl {
namespace {

Failure usage(std::string message, std::string_view verb = {}) {
  message += verb.empty() ? "\nTry 'mtctl help'." : "\nTry 'mtctl help " + std::string(verb) + "'.";
  return {CtlExit::usage, std::move(message)};
}

std::string in_quotes(std::string_view word) {
  return "'" + escape_for_terminal(word) + "'";
}

std::vector<std::string_view> split(std::string_view words) {
  std::vector<std::string_view> result;
  while (!words.empty()) {
    const std::size_t blank = words.find(' ');
    result.push_back(words.substr(0, blank));
    words.remove_prefix(blank == std::string_view::npos ? words.size() : blank + 1);
  }
  return result;
}

std::string suggestion(std::string_view word, const std::vector<std::string_view>& candidates) {
  const std::string_view best = closest_name(word, candidates);
  return best.empty() ? std::string() : ", did you mean " + in_quotes(best) + "?";
}

// The first word that is no option and no value of one: what stands where the verb should be.
std::string first_word(const std::vector<std::string>& arguments) {
  static const std::set<std::string> with_value{"-s", "--socket", "-H",       "--host",
                                                "-o", "--output", "--timeout"};
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (with_value.count(arguments[i]) != 0) {
      ++i;
    } else if (arguments[i].empty() || arguments[i].front() != '-') {
      return arguments[i];
    }
  }
  return {};
}

std::string commas(std::string_view words) {
  std::string result;
  for (const std::string_view word : split(words))
    result += (result.empty() ? "" : ", ") + std::string(word);
  return result;
}

Outcome<Format> parse_format(std::string_view word) {
  constexpr std::array<std::pair<std::string_view, Format>, 5> kRows{{{"table", Format::table},
                                                                      {"wide", Format::wide},
                                                                      {"json", Format::json},
                                                                      {"jsonl", Format::jsonl},
                                                                      {"name", Format::name}}};
  for (const auto& row : kRows) {
    if (row.first == word) return row.second;
  }
  const std::string close = suggestion(word, split(kFormats));
  return usage("there is no output format " + in_quotes(word) +
               (close.empty() ? "; it" : close + " It") + " is one of: " + commas(kFormats));
}

// Everything CLI11 fills in; the checks come after it.
class Parser {
 public:
  explicit Parser(const std::vector<Verb>& verbs) : verbs_(verbs) {
    app_.set_help_flag();
    app_.require_subcommand(0, 1);
    app_.option_defaults()->take_last();
    add_common();
    for (const Verb& verb : verbs_)
      add_verb(verb);
  }

  Outcome<Invocation> parse(const std::vector<std::string>& given) {
    const std::vector<std::string> arguments = without_rest(given);
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    try {
      app_.parse(reversed);
    } catch (const CLI::ParseError& error) {
      return explain(error, arguments);
    }
    if (show_version_) invocation_.verb = "version";
    for (const CLI::App* sub : app_.get_subcommands())
      collect(*sub);
    return check();
  }

 private:
  // What stands after "--" is a command's, and not looked at, where the verb takes one.
  std::vector<std::string> without_rest(const std::vector<std::string>& arguments) {
    const auto mark = std::find(arguments.begin(), arguments.end(), "--");
    std::vector<std::string> before(arguments.begin(), mark);
    const Verb* verb = find_verb(verbs_, first_word(before));
    if (mark == arguments.end() || verb == nullptr || !verb->detail.rest) return arguments;
    invocation_.rest.assign(mark + 1, arguments.end());
    return before;
  }

  void add_common() {
    app_.add_option("-s,--socket", invocation_.options.socket);
    app_.add_option("-H,--host", invocation_.options.host);
    app_.add_option("-o,--output", format_);
    app_.add_flag("-q,--quiet", invocation_.options.quiet);
    app_.add_flag("--no-color,--no-colour", invocation_.options.no_color);
    app_.add_option("--timeout", timeout_);
    app_.add_flag("--no-wait", no_wait_);
    app_.add_flag("-w,--watch", invocation_.options.watch);
    app_.add_flag("--all", invocation_.options.all);
    app_.add_flag("-h,--help", invocation_.options.help);
    app_.add_flag("--version", show_version_);
  }

  void add_verb(const Verb& verb) {
    CLI::App* sub = app_.add_subcommand(std::string(verb.name));
    sub->set_help_flag();
    sub->fallthrough();
    sub->add_option("words", invocation_.words)->take_all();
    for (const OptionRow& row : verb.detail.options) {
      if (app_.get_option_no_throw(std::string(long_name(row.names))) != nullptr) continue;
      if (row.value.empty()) {
        sub->add_flag(std::string(row.names));
      } else {
        sub->add_option(std::string(row.names))->expected(1)->take_last();
      }
    }
  }

  void collect(const CLI::App& sub) {
    invocation_.verb = sub.get_name();
    for (const CLI::Option* option : sub.get_options()) {
      if (option->count() == 0 || option->get_positional()) continue;
      const std::string name = "--" + option->get_lnames().front();
      invocation_.values[name] = option->get_expected_max() == 0 ? "" : option->results().back();
    }
  }

  Failure explain(const CLI::ParseError& error, const std::vector<std::string>& arguments) {
    const std::string word = first_word(arguments);
    const Verb* verb = find_verb(verbs_, word);
    if (verb == nullptr && !word.empty()) {
      std::vector<std::string_view> names;
      for (const Verb& known : verbs_)
        names.push_back(known.name);
      return usage("unknown verb " + in_quotes(word) + suggestion(word, names));
    }
    if (const std::string unknown = first_unknown_option(); !unknown.empty()) {
      return usage("unknown option " + in_quotes(unknown) + suggestion(unknown, option_names(verb)),
                   verb == nullptr ? "" : verb->name);
    }
    return usage(what_is_wrong(error), verb == nullptr ? "" : verb->name);
  }

  // CLI11's own words are about its tables: "--timeout: 1 required TEXT missing".
  static std::string what_is_wrong(const CLI::ParseError& error) {
    const std::string said = error.what();
    const std::string option = escape_for_terminal(said.substr(0, said.find_first_of(": =")));
    if (error.get_name() == "ArgumentMismatch" && option.starts_with("-"))
      return option + " needs a value";
    return escape_for_terminal(said);
  }

  [[nodiscard]] std::string first_unknown_option() const {
    for (const std::string& rest : app_.remaining(true)) {
      if (rest.size() > 1 && rest.front() == '-') return rest;
    }
    return {};
  }

  [[nodiscard]] static std::vector<std::string_view> option_names(const Verb* verb) {
    static const std::vector<OptionRow> common = common_options();
    std::vector<std::string_view> names{"--all", "--version"};
    for (const OptionRow& row : common)
      names.push_back(long_name(row.names));
    if (verb == nullptr) return names;
    for (const OptionRow& row : verb->detail.options)
      names.push_back(long_name(row.names));
    return names;
  }

  Outcome<Invocation> check() {
    Options& options = invocation_.options;
    options.wait = !no_wait_;
    if (app_.count("--host") > 0 && options.host.empty()) {
      return usage("--host: the name of the host is empty", invocation_.verb);
    }
    if (!format_.empty()) {
      const Outcome<Format> format = parse_format(format_);
      if (!format) return format.failure();
      options.format = *format;
    }
    if (!timeout_.empty()) {
      const Result<Duration> timeout = parse_duration(timeout_);
      if (!timeout) return usage("--timeout: " + timeout.error().message, invocation_.verb);
      options.timeout = *timeout;
    }
    if (invocation_.verb.empty() || options.help) return invocation_;
    return check_verb(*find_verb(verbs_, invocation_.verb));
  }

  Outcome<Invocation> check_verb(const Verb& verb) {
    const Options& options = invocation_.options;
    if (options.watch && verb.name != "status") {
      return usage("only 'mtctl status' can --watch", verb.name);
    }
    if (options.all && !verb.detail.all) {
      return usage("'" + invocation_.verb + "' does not take --all", verb.name);
    }
    const std::size_t count = invocation_.words.size();
    const std::size_t selectors_from = verb.name == "signal" ? 1 : 0;
    if (options.all && count > selectors_from) {
      return usage("give selectors or --all, not both", verb.name);
    }
    const std::size_t least = options.all ? selectors_from : verb.detail.min_words;
    if (count < least) return usage(what_is_missing(verb, count), verb.name);
    if (invocation_.rest.size() < verb.detail.min_rest) {
      return usage("'" + invocation_.verb + "' needs a command after --", verb.name);
    }
    if (count > verb.detail.max_words) {
      return usage("'" + invocation_.verb + "' takes no further argument: " +
                       in_quotes(invocation_.words[verb.detail.max_words]),
                   verb.name);
    }
    return check_choices(verb);
  }

  Outcome<Invocation> check_choices(const Verb& verb) {
    for (const OptionRow& row : verb.detail.options) {
      const std::string name(long_name(row.names));
      if (row.choices.empty() || !invocation_.has(name)) continue;
      const std::string value = invocation_.value(name);
      bool found = false;
      for (const std::string_view choice : split(row.choices))
        found = found || choice == value;
      if (!found) {
        return usage(
            name + " cannot be " + in_quotes(value) + "; it is one of: " + commas(row.choices),
            verb.name);
      }
    }
    return invocation_;
  }

  static std::string what_is_missing(const Verb& verb, std::size_t given) {
    const std::string name = "'" + std::string(verb.name) + "' needs ";
    switch (verb.detail.words) {
      case WordKind::selector:
        return name + "a pool or worker, or --all";
      case WordKind::pool:
        return name + (verb.name == "scale" ? "a pool and a number" : "a pool");
      case WordKind::signal:
        return name + (given == 0 ? "a signal and a pool or worker" : "a pool or worker, or --all");
      case WordKind::shell:
        return name + "the name of a shell: bash, zsh or fish";
      case WordKind::rollout:
        return name + (given == 0 ? "one of: status, pause, resume, undo, and a pool" : "a pool");
      case WordKind::file_or_keyword:
        return name + "one of: check, show, diff, schema, new, migrate";
      case WordKind::task:
        return name + "the number of a task";
      case WordKind::keyword:
        return name + "one of: " + commas(verb.detail.keywords);
      case WordKind::verb:
      case WordKind::none:
        return name + "an argument";
    }
    return name;
  }

  const std::vector<Verb>& verbs_;
  CLI::App app_;
  Invocation invocation_;
  std::string format_;
  std::string timeout_;
  bool no_wait_ = false;
  bool show_version_ = false;
};

}  // namespace

std::string_view long_name(std::string_view names) {
  const std::size_t begin = names.find("--");
  return begin == std::string_view::npos ? names : names.substr(begin);
}

std::string Invocation::value(const std::string& option) const {
  const auto found = values.find(option);
  return found == values.end() ? std::string() : found->second;
}

Outcome<Invocation> parse_command_line(const std::vector<Verb>& verbs,
                                       const std::vector<std::string>& arguments) {
  return Parser(verbs).parse(arguments);
}

}  // namespace mtd::ctl
