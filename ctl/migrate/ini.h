// Reads the dialect of INI that supervisord reads: sections, NAME=VALUE or NAME:VALUE, comments
// with ; or # at the start of a line or after a blank, indented lines that continue a value. A
// section or name that comes again adds to or replaces what was there before, across files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ctl/migrate/notes.h"

namespace mtd::ctl {

struct IniOption {
  std::string name;   // in lower case
  std::string value;  // trimmed; lines are separated by \n
  IniPlace place;
};

struct IniSection {
  std::string name;
  IniPlace place;
  std::vector<IniOption> options;

  [[nodiscard]] const IniOption* find(std::string_view option) const;
};

struct IniDocument {
  static constexpr std::size_t kMaxFiles = 1024;
  static constexpr std::size_t kMaxFileSize = 4 * 1024 * 1024;

  std::vector<std::string> files;  // absolute paths
  std::vector<IniSection> sections;

  [[nodiscard]] const IniSection* find(std::string_view section) const;
  [[nodiscard]] IniSection& section(std::string_view name, IniPlace place);
};

// Adds a file's text. Errors: a line that is none of the above.
void add_ini(IniDocument& document, std::string path, std::string_view text, Notes& notes);

[[nodiscard]] std::string_view trimmed(std::string_view text);
[[nodiscard]] std::string lowered(std::string_view text);  // ASCII

// Errors are notes at the option: yes, true, on, 1 and their opposites.
[[nodiscard]] bool ini_flag(const IniSection& section, std::string_view option, bool fallback,
                            Notes& notes);
// The directory of the file in which a place is.
[[nodiscard]] std::string directory_of(const IniDocument& document, IniPlace place);

}  // namespace mtd::ctl
