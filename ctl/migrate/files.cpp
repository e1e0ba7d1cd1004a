#include "ctl/migrate/files.h"

#include <glob.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "ctl/migrate/text.h"

namespace mtd::ctl {
namespace {

// Absolute, and as it is called: %(here)s is its directory.
std::string absolute(const std::string& path) {
  std::error_code failed;
  const auto whole = std::filesystem::absolute(path, failed).lexically_normal();
  return failed ? path : whole.string();
}

bool add_file(IniDocument& document, const std::string& path, Notes& notes) {
  const IniPlace place{document.files.size(), 0};
  errno = 0;
  std::error_code failed;
  const bool regular = std::filesystem::is_regular_file(path, failed);
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (regular && file) text << file.rdbuf();
  if (!regular || !file) {
    document.files.push_back(path);
    notes.error(place, std::string("cannot be read: ") +
                           (failed || regular ? std::strerror(errno) : "no regular file"));
    return false;
  }
  if (text.str().size() > IniDocument::kMaxFileSize) {
    document.files.push_back(path);
    notes.error(place, "is larger than 4 MiB; this is no supervisord.conf");
    return false;
  }
  add_ini(document, path, text.str(), notes);
  return true;
}

std::vector<std::string> files_of(const std::string& pattern) {
  glob_t found{};
  std::vector<std::string> files;
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) {
    for (std::size_t i = 0; i < found.gl_pathc; ++i)
      files.emplace_back(found.gl_pathv[i]);
  }
  ::globfree(&found);
  return files;
}

// The patterns of [include] as supervisord would use them; references are left out with a note.
void add_included(IniDocument& document, const std::string& host, Notes& notes) {
  const IniSection* section = document.find("include");
  if (section == nullptr) return;
  const IniOption* option = section->find("files");
  if (option == nullptr) {
    notes.error(section->place, "[include] has no files");
    return;
  }
  const IniOption files = *option;  // the document grows below
  const std::string here = directory_of(document, files.place);
  const auto text =
      expand_expressions(files.value, {{{"here", here}, {"host_node_name", host}}, {}, true});
  if (!text || !text->variables.empty()) {
    notes.error(files.place, "files: " + (text ? "%(ENV_" + text->variables.front() +
                                                     ")s is not known here; name the files"
                                               : text.error().message));
    return;
  }
  std::istringstream patterns(text->text);
  for (std::string pattern; patterns >> pattern;) {
    if (pattern.front() != '/') pattern.insert(0, here + "/");
    const std::vector<std::string> found = files_of(pattern);
    if (found.empty()) notes.left(files.place, "files: nothing is called " + cited(pattern));
    for (const std::string& file : found) {
      if (document.files.size() >= IniDocument::kMaxFiles) {
        notes.error(files.place, "files: more than 1024 files");
        return;
      }
      add_file(document, file, notes);
    }
  }
}

}  // namespace

IniDocument read_supervisord_files(const std::string& path, const std::string& host, Notes& notes) {
  IniDocument document;
  if (add_file(document, absolute(path), notes)) add_included(document, host, notes);
  return document;
}

}  // namespace mtd::ctl
