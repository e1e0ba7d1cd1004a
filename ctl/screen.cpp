#include "ctl/screen.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace mtd::ctl {
namespace {

constexpr std::size_t kDefaultWidth = 80;
constexpr std::size_t kMinWidth = 20;

std::string_view sequence(Colour colour) {
  switch (colour) {
    case Colour::plain:
      return "";
    case Colour::bold:
      return "\033[1m";
    case Colour::dim:
      return "\033[2m";
    case Colour::red:
      return "\033[31m";
    case Colour::green:
      return "\033[32m";
    case Colour::yellow:
      return "\033[33m";
    case Colour::cyan:
      return "\033[36m";
  }
  return "";
}

std::size_t terminal_width(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    return std::max<std::size_t>(size.ws_col, kMinWidth);
  }
  return kDefaultWidth;
}

bool no_color_wanted() {
  const char* no_color = std::getenv("NO_COLOR");
  return no_color != nullptr && *no_color != '\0';
}

// The encoding of the locale, as its name says: the first that is set decides (locale(7)).
bool locale_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    std::string lower;
    for (const char c : std::string_view(value))
      lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return lower.find("utf-8") != std::string::npos || lower.find("utf8") != std::string::npos;
  }
  return false;
}

bool is_dumb() {
  const char* term = std::getenv("TERM");
  return term == nullptr || *term == '\0' || std::string_view(term) == "dumb";
}

}  // namespace

std::string Screen::paint(std::string_view text, Colour wanted) const {
  if (!colour || wanted == Colour::plain || text.empty()) return std::string(text);
  return std::string(sequence(wanted)) + std::string(text) + "\033[0m";
}

Screen detect_screen(int fd, bool no_color) {
  Screen screen;
  screen.terminal = ::isatty(fd) == 1;
  if (!screen.terminal) return screen;
  screen.width = terminal_width(fd);
  screen.utf8 = locale_is_utf8();
  screen.cursor = !is_dumb();
  screen.colour = screen.cursor && !no_color && !no_color_wanted();
  return screen;
}

Colour colour_of_state(std::string_view state) {
  struct Row {
    std::string_view state;
    Colour colour;
  };
  static constexpr Row kRows[] = {
      {"running", Colour::green}, {"ready", Colour::green},     {"idle", Colour::green},
      {"busy", Colour::green},    {"degraded", Colour::yellow}, {"backoff", Colour::yellow},
      {"stuck", Colour::red},     {"failed", Colour::red},      {"killing", Colour::yellow},
      {"starting", Colour::cyan}, {"rolling", Colour::cyan},    {"draining", Colour::cyan},
      {"stopping", Colour::cyan}, {"frozen", Colour::cyan},     {"stopped", Colour::dim},
      {"completed", Colour::dim}, {"unready", Colour::yellow},
  };
  for (const Row& row : kRows) {
    if (row.state == state) return row.colour;
  }
  return Colour::plain;
}

}  // namespace mtd::ctl
