#include "ctl/migrate/output_target.h"

#include "ctl/migrate/text.h"

namespace mtd::ctl {
namespace {

enum class Kind { automatic, none, inherit, file };

struct Stream {
  Kind kind = Kind::automatic;
  std::string path;                   // of file
  const IniOption* option = nullptr;  // that says so; null: the default
  bool operator==(const Stream& other) const { return kind == other.kind && path == other.path; }
};

bool is_own_output(const std::string& path) {
  for (const char* name : {"/dev/stdout", "/dev/stderr", "/dev/fd/1", "/dev/fd/2",
                           "/proc/self/fd/1", "/proc/self/fd/2"}) {
    if (path == name) return true;
  }
  return false;
}

Stream stream_of_file(const IniOption& option, const std::string& path, Notes& notes) {
  const std::string word = lowered(path);
  if (word == "none" || word == "off" || path == "/dev/null") return {Kind::none, "", &option};
  if (word == "auto" || word.empty()) return {Kind::automatic, "", &option};
  if (word == "syslog") {
    notes.left(option.place, option.name + ": output goes to the journal under systemd");
    return {Kind::automatic, "", &option};
  }
  if (is_own_output(path)) return {Kind::inherit, "", &option};
  if (path.front() == '/' || has_reference(path)) return {Kind::file, path, &option};
  notes.left(option.place, option.name + ": " + cited(path) +
                               " is relative; log.path is an absolute path, so output goes to "
                               "the journal or to mtd's own");
  return {Kind::automatic, "", &option};
}

Stream stream_of(const IniSection& program, const std::string& name, const ExpandOption& expand,
                 Notes& notes) {
  if (ini_flag(program, name + "_syslog", false, notes)) {
    const IniOption* option = program.find(name + "_syslog");
    notes.left(option->place, option->name + ": output goes to the journal under systemd");
    if (program.find(name + "_logfile") == nullptr) return {Kind::automatic, "", option};
  }
  const IniOption* option = program.find(name + "_logfile");
  if (option == nullptr) return {};
  const auto path = expand(*option);
  return path ? stream_of_file(*option, *path, notes) : Stream{};
}

std::string place_in_words(const Stream& stream) {
  switch (stream.kind) {
    case Kind::automatic:
      return "the journal or mtd's own output";
    case Kind::none:
      return "nowhere";
    case Kind::inherit:
      return "mtd's own output";
    case Kind::file:
      return cited(stream.option->value);
  }
  return {};
}

// supervisord rotates at 50 MB unless it is told not to.
bool is_rotated(const IniSection& program, const Stream& stream) {
  if (stream.kind != Kind::file || stream.option == nullptr) return false;
  const IniOption* limit = program.find(stream.option->name + "_maxbytes");
  return limit == nullptr || limit->value != "0";
}

}  // namespace

OutputTarget output_target(const IniSection& program, const ExpandOption& expand, Notes& notes) {
  const Stream out = stream_of(program, "stdout", expand, notes);
  const bool joined = ini_flag(program, "redirect_stderr", false, notes);
  const Stream err = joined ? out : stream_of(program, "stderr", expand, notes);
  // Of two targets the file counts, standard output's first.
  const bool err_wins = out.kind != Kind::file && err.kind == Kind::file;
  const Stream& chosen = err_wins || (out.option == nullptr && err.option != nullptr) ? err : out;
  const Stream& other = &chosen == &out ? err : out;
  if (!(out == err) && chosen.option != nullptr) {
    notes.left((other.option != nullptr ? other : chosen).option->place,
               std::string(&chosen == &out ? "standard error" : "standard output") + " goes to " +
                   place_in_words(chosen) + ", too; mtd has one target for both");
  }
  switch (chosen.kind) {
    case Kind::automatic:
      return {};
    case Kind::none:
      return {"null", "", false};
    case Kind::inherit:
      return {"inherit", "", false};
    case Kind::file:
      return {"direct", chosen.path, is_rotated(program, chosen)};
  }
  return {};
}

}  // namespace mtd::ctl
