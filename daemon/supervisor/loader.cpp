#include "daemon/supervisor/loader.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>

#include "config/loader.h"
#include "daemon/supervisor/run_time_changes.h"
#include "daemon/sys/durable_file.h"
#include "daemon/sys/proc.h"
#include "daemon/sys/service_unit.h"

namespace mtd::supervisor {
namespace {

// The answer of the helper: a line "configuration" and the flat form, or "errors" and one a line.
constexpr std::string_view kConfiguration = "configuration\n";
constexpr std::string_view kErrors = "errors\n";

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

// Stands before the rest: "changes" or "problem", the number of bytes, and as many bytes.
std::string run_time_text(const std::string& state_dir) {
  if (state_dir.empty()) return {};
  const auto read = sys::read_durable(state_dir, kRunTimeChangesFile, kMaxRunTimeChangesBytes);
  const std::string& text = read ? *read : read.error().message;
  return (read ? "changes " : "problem ") + std::to_string(text.size()) + "\n" + text;
}

void take_run_time_text(std::string_view& text, LoadAnswer& answer) {
  for (auto* const to : {&answer.run_time_changes, &answer.run_time_error}) {
    const std::string_view word = to == &answer.run_time_changes ? "changes " : "problem ";
    if (text.substr(0, word.size()) != word) continue;
    const auto end = text.find('\n');
    const std::size_t size = std::strtoul(text.data() + word.size(), nullptr, 10);
    if (end == std::string_view::npos || size > text.size() - end - 1) return;
    *to = text.substr(end + 1, size);
    text.remove_prefix(end + 1 + size);
  }
}

// Does the unit that mtd runs as let it end its workers by itself? People edit units. Empty: it
// does, or nobody can tell.
std::string warning_of_unit(int keeper) {
  const auto unit = sys::service_unit_of(keeper);
  if (!unit || unit->name.empty()) return {};
  const std::string& mode = unit->kill_mode;
  if (mode == "mixed" || mode == "process") return {};
  const std::string what =
      mode == "none" ? "a stop of the unit ends nothing, not even mtd"
                     : "a stop of the unit signals all workers at once, and mtd cannot stop them "
                       "in order or let them finish";
  return "KillMode=" + mode + " in " + unit->name + ": " + what + "; set KillMode=mixed";
}

std::string answer_text(const std::string& path, std::optional<int> keeper) {
  config::Source source;
  source.path = path;
  auto loaded = config::load(source);
  const std::string warning =
      keeper && loaded.errors.empty() ? warning_of_unit(*keeper) : std::string();
  if (!warning.empty()) loaded.configuration.warnings.push_back(warning);
  if (loaded.errors.empty())
    return std::string(kConfiguration) + config::encode(loaded.configuration);
  std::string text(kErrors);
  for (const auto& problem : loaded.errors)
    text += one_line(problem.text()) + "\n";
  return text;
}

LoadAnswer parse_answer(std::string_view text) {
  LoadAnswer answer;
  take_run_time_text(text, answer);
  if (text.substr(0, kConfiguration.size()) == kConfiguration) {
    answer.encoded = text.substr(kConfiguration.size());
    auto decoded = config::decode(answer.encoded);
    if (decoded) {
      answer.configuration = std::move(*decoded);
    } else {
      answer.errors.push_back("the loader's answer cannot be read: " + decoded.error().message);
    }
    return answer;
  }
  std::string_view rest = text;
  rest.remove_prefix(std::min(kErrors.size(), rest.size()));
  while (!rest.empty()) {
    const auto end = rest.find('\n');
    answer.errors.emplace_back(rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  if (answer.errors.empty()) answer.errors.push_back("the loader gave no answer");
  return answer;
}

}  // namespace

Result<sys::HelperProcess> start_loader(sys::EventLoop& loop, const std::string& path,
                                        const std::string& state_dir,
                                        std::function<void(LoadAnswer)> done) {
  return sys::HelperProcess::start(
      loop, sys::kHelperDeadline,
      [path, state_dir, keeper = sys::parent_of(sys::own_pid())] {
        return run_time_text(state_dir) + answer_text(path, keeper);
      },
      [done = std::move(done)](Result<std::string> text) {
        if (text) {
          done(parse_answer(*text));
        } else {
          LoadAnswer failed;
          failed.errors.push_back("read the configuration: " + text.error().message);
          done(std::move(failed));
        }
      });
}

LoadAnswer load_here(const std::string& path) {
  return parse_answer(answer_text(path, std::nullopt));
}

}  // namespace mtd::supervisor
