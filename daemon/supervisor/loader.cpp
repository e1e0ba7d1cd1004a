#include "daemon/supervisor/loader.h"

#include <algorithm>
#include <utility>

#include "config/loader.h"

namespace mtd::supervisor {
namespace {

// The answer of the helper: a line "configuration" and the flat form, or "errors" and one a line.
constexpr std::string_view kConfiguration = "configuration\n";
constexpr std::string_view kErrors = "errors\n";

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

std::string answer_text(const std::string& path) {
  config::Source source;
  source.path = path;
  const auto loaded = config::load(source);
  if (loaded.errors.empty())
    return std::string(kConfiguration) + config::encode(loaded.configuration);
  std::string text(kErrors);
  for (const auto& problem : loaded.errors)
    text += one_line(problem.text()) + "\n";
  return text;
}

LoadAnswer parse_answer(const std::string& text) {
  LoadAnswer answer;
  if (text.rfind(kConfiguration, 0) == 0) {
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
                                        std::function<void(LoadAnswer)> done) {
  return sys::HelperProcess::start(
      loop, sys::kHelperDeadline, [path] { return answer_text(path); },
      [done = std::move(done)](Result<std::string> text) {
        if (text) {
          done(parse_answer(*text));
        } else {
          done({{}, {"read the configuration: " + text.error().message}, {}});
        }
      });
}

LoadAnswer load_here(const std::string& path) {
  return parse_answer(answer_text(path));
}

}  // namespace mtd::supervisor
