#include "ctl/command_migrate.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "ctl/migrate/files.h"
#include "ctl/migrate/migrate.h"
#include "ctl/phrases.h"

namespace mtd::ctl {
namespace {

std::string host_name() {
  constexpr std::size_t kRoom = 256;
  std::array<char, kRoom> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

// Each on a line of its own, in the order of files and lines.
void print_notes(Output& err, const IniDocument& document, std::vector<Note> notes) {
  std::stable_sort(notes.begin(), notes.end(),
                   [](const Note& a, const Note& b) { return a.place < b.place; });
  for (const Note& note : notes) {
    std::string line = document.files.at(note.place.file);
    if (note.place.line != 0) line += ":" + std::to_string(note.place.line);
    err.line(escape_for_terminal(line + ": " + note.text));
  }
}

}  // namespace

Outcome<CtlExit> migrate_config(Context& context, const std::string& file) {
  Notes notes;
  const std::string host = host_name();
  const IniDocument document = read_supervisord_files(file, host, notes);
  const Migration migration = notes.errors.empty() ? migrate(document, host, notes) : Migration{};
  if (!notes.errors.empty()) {
    const auto count = static_cast<std::int64_t>(notes.errors.size());
    print_notes(context.err, document, std::move(notes.errors));
    return Failure{
        CtlExit::invalid_configuration,
        counted(count, "problem") + " in " + escape_for_terminal(file) + "; nothing was migrated"};
  }
  const bool indented = context.options().format != Format::jsonl;
  context.out.line(migration.configuration.dump(indented ? 2 : -1, ' ', context.screen.terminal));
  if (context.options().quiet) return CtlExit::ok;
  print_notes(context.err, document, std::move(notes.left_out));
  for (const std::string& remark : migration.remarks)
    context.err.line("note: " + escape_for_terminal(remark));
  return CtlExit::ok;
}

}  // namespace mtd::ctl
