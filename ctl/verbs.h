// The verbs of mtctl as data: names, arguments, options, examples. Those that call the daemon take
// name, synopsis and summary from the table of control methods. Command line, help, completion and
// manual page are made from this; commands.h says what each does.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace mtd::ctl {

struct OptionRow {
  std::string_view names;    // "-f,--follow"
  std::string_view value;    // "CURSOR"; empty: a flag
  std::string_view doc;      // one sentence without its full stop
  std::string_view choices;  // "ready stopped": the values allowed, for checks and completion
};

struct Example {
  std::string_view command;
  std::string_view does;
};

enum class WordKind {
  none,
  selector,
  pool,
  file_or_keyword,
  verb,
  shell,
  signal,
  rollout,
  task,
  keyword
};

// The part of a verb that only mtctl knows.
struct VerbDetail {
  std::string_view name;
  std::string_view description;  // paragraphs, separated by "\n\n"
  std::size_t min_words = 0;
  std::size_t max_words = 0;
  bool all = false;  // takes --all instead of selectors
  WordKind words = WordKind::none;
  std::vector<OptionRow> options;
  std::vector<Example> examples;
  std::size_t min_rest = 0;        // words after "--"
  bool rest = false;               // takes such words: a command, or arguments that begin with "-"
  std::string_view keywords = {};  // the first words of WordKind::keyword
};

struct Verb {
  std::string_view name;
  std::string_view synopsis;
  std::string_view summary;
  VerbDetail detail;
};

// Every verb, in the order in which help shows them.
[[nodiscard]] std::vector<Verb> all_verbs();
// Options that every verb takes, before or after it.
[[nodiscard]] std::vector<OptionRow> common_options();
[[nodiscard]] const Verb* find_verb(const std::vector<Verb>& verbs, std::string_view name);

inline constexpr std::size_t kAnyNumber = 4096;  // of words on a command line
inline constexpr std::string_view kFormats = "table wide json jsonl name";

}  // namespace mtd::ctl
