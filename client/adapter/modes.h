// The two ways to adapt a command that knows nothing of mtd to mtd-task/1. Each serves until mtd
// says enough or has gone, and gives the exit code of the adapter.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mtd::adapter {

struct Settings {
  std::vector<std::string> command;
  std::size_t max_result = 8u << 20;  // bytes of a task's output; more is a failure
  bool probe = true;                  // filter: ask once at the start
  std::string probe_line;
};

// The command once for each task. Arguments are appended, or stand where %{arg} is.
[[nodiscard]] int run_exec(const Settings& settings);
// The command once: a line in, a line out.
[[nodiscard]] int run_filter(const Settings& settings);

// The words of `command` for a task: a word that is %{arg} becomes the arguments, %{arg} inside a
// word becomes them with blanks between; without either they are appended.
[[nodiscard]] std::vector<std::string> command_for(const std::vector<std::string>& command,
                                                   const std::vector<std::string>& arguments);

// What a command's exit code means.
enum class Verdict { done, retry, no_retry };
[[nodiscard]] Verdict verdict_of(int exit_code);

// The environment of the adapter without what is meant for it alone, and with `more`.
[[nodiscard]] std::vector<std::string> environment_with(std::vector<std::string> more);
void complain(const std::string& text);

}  // namespace mtd::adapter
