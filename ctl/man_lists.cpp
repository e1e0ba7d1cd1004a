// Prints the generated parts of mtctl(1) in mdoc: `mtd-man-ctl TEMPLATE` copies the page and puts
// the verbs, options and exit codes in the place of lines @VERBS@, @OPTIONS@ and @EXIT_CODES@.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "ctl/completion_words.h"
#include "ctl/outcome.h"
#include "ctl/verbs.h"

namespace mtd::ctl {
namespace {

// Text in mdoc: backslashes and characters at the start of a line that would be a request.
std::string roff(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 3) == "…") {
      result += "...";
      i += 2;
    } else if (text[i] == '\\') {
      result += "\\e";
    } else if (text[i] == '`') {
      result += "\\(oq";
    } else if (text[i] == '\'') {
      result += "\\(aq";
    } else if (text[i] == '-') {
      result += "\\-";
    } else {
      result += text[i];
    }
  }
  return !result.empty() && result.front() == '.' ? "\\&" + result : result;
}

// A sentence on each line, as mdoc wants it.
std::string sentences(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    std::size_t end = 0;
    while (end < text.size() &&
           !((text[end] == '.' || text[end] == '?') &&
             (end + 1 == text.size() || text[end + 1] == ' ')) &&
           text.substr(end, 2) != "\n\n") {
      ++end;
    }
    if (text.substr(end, 2) == "\n\n") {
      if (end > 0) result += roff(text.substr(0, end)) + "\n";
      result += ".Pp\n";
      text.remove_prefix(end + 2);
      continue;
    }
    end = end < text.size() ? end + 1 : end;
    result += roff(text.substr(0, end)) + "\n";
    text.remove_prefix(end < text.size() && text[end] == ' ' ? end + 1 : end);
  }
  return result;
}

// "-f,--follow" → ".It Fl f , Fl -follow Ar cursor"
std::string option_item(const OptionRow& row) {
  std::string line = ".It";
  for (const std::string& name : names_of(row)) {
    line += std::string(line == ".It" ? " " : " , ") + "Fl " + name.substr(1);
  }
  if (!row.value.empty()) line += " Ar " + std::string(row.value);
  return line + "\n" + sentences(std::string(row.doc) + ".");
}

std::string options(const std::vector<OptionRow>& rows) {
  std::string result = ".Bl -tag -width Ds\n";
  for (const OptionRow& row : rows)
    result += option_item(row);
  return result + ".El\n";
}

std::string verb_section(const Verb& verb) {
  std::string result = ".It Cm " + std::string(verb.name);
  if (!verb.synopsis.empty()) result += " No " + roff(verb.synopsis);
  result += "\n" + sentences(std::string(verb.summary) + ".");
  result += sentences(verb.detail.description);
  std::vector<OptionRow> rows = verb.detail.options;
  if (verb.detail.all) rows.push_back({"--all", "", "Every pool, instead of selectors", ""});
  if (!rows.empty()) result += options(rows);
  return result;
}

std::string verbs() {
  std::string result = ".Bl -tag -width Ds\n";
  for (const Verb& verb : all_verbs())
    result += verb_section(verb);
  return result + ".El\n";
}

std::string examples() {
  std::string result = ".Bd -literal -offset indent\n";
  for (const Verb& verb : all_verbs()) {
    for (const Example& example : verb.detail.examples)
      result += roff(example.command) + "\n";
  }
  return result + ".Ed\n";
}

std::string exit_codes() {
  std::string result = ".Bl -tag -width Ds\n";
  for (const ExitCodeRow& row : kExitCodes) {
    result += ".It " + std::to_string(static_cast<int>(row.code)) + "\n" + sentences(row.meaning);
  }
  return result + ".El\n";
}

int print_page(const char* path) {
  std::ifstream page(path);
  if (!page) {
    std::fprintf(stderr, "mtd-man-ctl: cannot read %s\n", path);
    return 1;
  }
  for (std::string line; std::getline(page, line);) {
    if (line == "@VERBS@") {
      std::cout << verbs();
    } else if (line == "@OPTIONS@") {
      std::cout << options(common_options());
    } else if (line == "@EXAMPLES@") {
      std::cout << examples();
    } else if (line == "@EXIT_CODES@") {
      std::cout << exit_codes();
    } else {
      std::cout << line << "\n";
    }
  }
  return std::cout.flush() ? 0 : 1;
}

}  // namespace
}  // namespace mtd::ctl

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: mtd-man-ctl PAGE\n", stderr);
    return 2;
  }
  return mtd::ctl::print_page(argv[1]);
}
