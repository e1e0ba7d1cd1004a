#include "ctl/migrate/ini.h"

#include <algorithm>

#include "common/escape.h"

namespace mtd::ctl {
namespace {

constexpr std::string_view kBlanks = " \t\r\f\v";

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_comment_at(std::string_view line, std::size_t at) {
  return (line[at] == ';' || line[at] == '#') &&
         (at == 0 || kBlanks.find(line[at - 1]) != std::string_view::npos);
}

// The line without its comment.
std::string_view content_of(std::string_view line) {
  const std::size_t first = line.find_first_not_of(kBlanks);
  if (first != std::string_view::npos && (line[first] == ';' || line[first] == '#')) return {};
  for (std::size_t at = 0; at < line.size(); ++at) {
    if (is_comment_at(line, at)) return line.substr(0, at);
  }
  return line;
}

class Reader {
 public:
  Reader(IniDocument& document, std::size_t file, Notes& notes)
      : document_(document), place_{file, 0}, notes_(notes) {}

  void line(std::string_view raw) {
    ++place_.line;
    if (!is_text(raw)) return;
    const std::string_view line = content_of(raw);
    const std::string_view content = trimmed(line);
    if (content.empty()) return;  // ends no value that goes on after it
    const std::size_t indent = line.find_first_not_of(kBlanks);
    if (in_option_ && indent > indent_) {
      section_->options[option_].value += "\n" + std::string(content);
      return;
    }
    indent_ = indent;
    in_option_ = false;
    if (content.front() == '[' && content.find(']') != std::string_view::npos) {
      section_ = &document_.section(content.substr(1, content.rfind(']') - 1), place_);
      return;
    }
    option(content);
  }

 private:
  bool is_text(std::string_view raw) {
    const bool control = std::any_of(raw.begin(), raw.end(), [](char c) {
      constexpr char kDelete = 0x7f;
      return (static_cast<unsigned char>(c) < ' ' && kBlanks.find(c) == kBlanks.npos) ||
             c == kDelete;
    });
    const bool good = !control && is_valid_utf8(raw);
    if (!good) notes_.error(place_, control ? "a control character" : "is not UTF-8");
    return good;
  }

  void option(std::string_view content) {
    const std::size_t delimiter = content.find_first_of("=:");
    if (section_ == nullptr) {
      notes_.error(place_, "stands before the first [section]");
      return;
    }
    if (delimiter == 0 || delimiter == std::string_view::npos) {
      notes_.error(place_, "neither [section] nor NAME=VALUE: " + cited(content));
      return;
    }
    IniOption read{lowered(trimmed(content.substr(0, delimiter))),
                   std::string(trimmed(content.substr(delimiter + 1))), place_};
    auto& options = section_->options;
    const auto same = std::find_if(options.begin(), options.end(), [&](const IniOption& option) {
      return option.name == read.name;
    });
    option_ = static_cast<std::size_t>(same - options.begin());
    if (same == options.end()) {
      options.push_back(std::move(read));
    } else {
      *same = std::move(read);
    }
    in_option_ = true;
  }

  IniDocument& document_;
  IniPlace place_;
  Notes& notes_;
  IniSection* section_ = nullptr;
  std::size_t option_ = 0;  // of section_, which an indented line continues
  std::size_t indent_ = 0;
  bool in_option_ = false;
};

}  // namespace

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\f\v";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::string lowered(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), lower);
  return result;
}

const IniOption* IniSection::find(std::string_view option) const {
  const auto found = std::find_if(options.begin(), options.end(),
                                  [&](const IniOption& one) { return one.name == option; });
  return found == options.end() ? nullptr : &*found;
}

const IniSection* IniDocument::find(std::string_view section) const {
  const auto found = std::find_if(sections.begin(), sections.end(),
                                  [&](const IniSection& one) { return one.name == section; });
  return found == sections.end() ? nullptr : &*found;
}

IniSection& IniDocument::section(std::string_view name, IniPlace place) {
  const auto found = std::find_if(sections.begin(), sections.end(),
                                  [&](const IniSection& one) { return one.name == name; });
  if (found != sections.end()) return *found;
  sections.push_back({std::string(name), place, {}});
  return sections.back();
}

void add_ini(IniDocument& document, std::string path, std::string_view text, Notes& notes) {
  document.files.push_back(std::move(path));
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  Reader reader(document, document.files.size() - 1, notes);
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    reader.line(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

bool ini_flag(const IniSection& section, std::string_view option, bool fallback, Notes& notes) {
  const IniOption* found = section.find(option);
  if (found == nullptr) return fallback;
  const std::string value = lowered(found->value);
  for (const char* yes : {"yes", "true", "on", "1"}) {
    if (value == yes) return true;
  }
  for (const char* no : {"no", "false", "off", "0"}) {
    if (value == no) return false;
  }
  notes.error(found->place,
              std::string(option) + " must be true or false, not " + cited(found->value));
  return fallback;
}

std::string directory_of(const IniDocument& document, IniPlace place) {
  const std::string& file = document.files.at(place.file);
  return file.substr(0, std::max<std::size_t>(1, file.rfind('/')));
}

}  // namespace mtd::ctl
