#include "config/keys.h"
#include "config/tools.h"

namespace mtd::config {
namespace {

// A line of text in mdoc: backslashes and a leading dot or quote mean something there, and a new
// sentence begins a new line.
std::string line(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      out += "\\e";
    } else if (text.substr(i, 2) == ". ") {
      out += ".\n";
      ++i;
    } else {
      out += text[i];
    }
  }
  return (text.starts_with(".") || text.starts_with("'") ? "\\&" : "") + out + "\n";
}

std::string_view apply_sentence(Apply apply) {
  switch (apply) {
    case Apply::hot:
      return "Applies in place.";
    case Apply::rolling:
      return "Applies by replacing the workers one after the other.";
    case Apply::restart:
      return "Applies when mtd is started again.";
    case Apply::unchanged:
    case Apply::add:
    case Apply::remove:
      break;
  }
  return "";
}

std::string entry(const KeyInfo& key) {
  const bool required = key.fallback == "required";
  return ".It Cm " + std::string(key.path) + "\n" + line(key.doc) +
         line("Takes " + key.expectation() + ".") +
         line(required ? "Required." : "Default: " + std::string(key.fallback) + ".") +
         line(apply_sentence(key.apply));
}

}  // namespace

std::string manual_of_keys() {
  std::string text = ".Sh KEYS OF A POOL\n.Bl -tag -width Ds\n";
  for (const PoolKey& key : pool_keys())
    text += entry(key.info);
  text +=
      ".El\n.Sh KEYS OF THE DAEMON\nThese stand at the top of\n.Pa mtd.json ,\nbeside\n.Cm pools "
      ".\n.Bl -tag -width Ds\n";
  for (const DaemonKey& key : daemon_keys())
    text += entry(key.info);
  return text + ".El\n";
}

}  // namespace mtd::config
