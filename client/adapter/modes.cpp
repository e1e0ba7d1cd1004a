#include "client/adapter/modes.h"

#include <unistd.h>

#include <string_view>

namespace mtd::adapter {
namespace {

constexpr std::string_view kPlace = "%{arg}";

std::string joined(const std::vector<std::string>& words) {
  std::string result;
  for (const std::string& word : words)
    result += (&word == &words.front() ? "" : " ") + word;
  return result;
}

}  // namespace

std::vector<std::string> command_for(const std::vector<std::string>& command,
                                     const std::vector<std::string>& arguments) {
  std::vector<std::string> words;
  bool placed = false;
  for (std::string word : command) {
    if (word == kPlace) {
      placed = true;
      words.insert(words.end(), arguments.begin(), arguments.end());
      continue;
    }
    const std::string whole = joined(arguments);
    for (std::size_t at = word.find(kPlace); at != std::string::npos;
         at = word.find(kPlace, at + whole.size())) {
      placed = true;
      word.replace(at, kPlace.size(), whole);
    }
    words.push_back(std::move(word));
  }
  if (!placed) words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

// The codes of sysexits.h that say whether trying again is of any use.
Verdict verdict_of(int exit_code) {
  if (exit_code == 0) return Verdict::done;
  for (const int final : {64, 65, 66, 77, 78}) {
    if (exit_code == final) return Verdict::no_retry;
  }
  return Verdict::retry;
}

std::vector<std::string> environment_with(std::vector<std::string> more) {
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string_view entry(*at);
    if (!entry.starts_with("MTD_TASK_") && !entry.starts_with("NOTIFY_SOCKET=")) {
      more.emplace_back(entry);
    }
  }
  return more;
}

void complain(const std::string& text) {
  const std::string line = "mtd-worker: " + text + "\n";
  (void)!::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace mtd::adapter
