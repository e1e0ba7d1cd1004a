// What a migration has to say beside its result, each with the place it is about.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mtd::ctl {

struct IniPlace {
  std::size_t file = 0;    // index into the document's files
  std::uint32_t line = 0;  // 1-based; 0: the file as a whole
  auto operator<=>(const IniPlace&) const = default;
};

struct Note {
  IniPlace place;
  std::string text;  // a sentence without its full stop, unescaped
  bool operator==(const Note&) const = default;
};

// Nothing is said twice.
struct Notes {
  static constexpr std::size_t kMax = 4096;  // of each kind; more are dropped

  std::vector<Note> left_out;  // what is not carried over, or means something else now
  std::vector<Note> errors;    // what supervisord would refuse, too: nothing is printed then

  void left(IniPlace place, std::string text) { add(left_out, place, std::move(text)); }
  void error(IniPlace place, std::string text) { add(errors, place, std::move(text)); }

 private:
  static void add(std::vector<Note>& notes, IniPlace place, std::string text) {
    Note note{place, std::move(text)};
    const bool known = std::find(notes.begin(), notes.end(), note) != notes.end();
    if (!known && notes.size() < kMax) notes.push_back(std::move(note));
  }
};

// "x", cut to a length that a line bears; escaping is left to who prints the note.
[[nodiscard]] inline std::string cited(std::string_view text) {
  constexpr std::size_t kLength = 64;
  const bool fits = text.size() <= kLength;
  return "\"" + std::string(text.substr(0, kLength)) + (fits ? "\"" : "...\"");
}

}  // namespace mtd::ctl
