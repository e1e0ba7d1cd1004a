// Who runs the workers, in which environment and directory.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "common/escape.h"
#include "common/names.h"
#include "config/expand.h"
#include "config/pool_resolver.h"
#include "config/read_file.h"

namespace mtd::config {

void PoolResolver::identity() {
  IdentityKeys keys{text("user"), text("group"), std::nullopt};
  if (const Node* groups = node("groups")) keys.groups = texts_of(*groups);
  who_ = own_identity();
  if (!keys.user && !keys.group && !keys.groups) return;
  auto resolved = resolve_identity(keys);
  if (const auto* error = std::get_if<IdentityError>(&resolved)) {
    fail(error->key, error->message);
    return;
  }
  who_ = std::get<Identity>(std::move(resolved));
  spec_.identity = who_;
  if (::geteuid() != 0 && who_.uid != ::geteuid()) {
    problems_.warn(place_of("user"),
                   "mtd does not run as root and may not be able to run workers as " +
                       escape_for_terminal(who_.user_name));
  }
}

void PoolResolver::environment() {
  environment_.start = options_.start;
  const Node* clear = node("env_clear");
  if (clear == nullptr || !*clear->as<bool>()) environment_.standard = standard_variables(who_);
  if (const Node* pass = node("env_pass")) pass_variables(*pass);
  if (const Node* own = node("env")) own_variables(*own);
  if (const Node* files = node("env_file")) read_files(*files);
  for (const auto& [name, value] : environment_.own) {
    const auto expanded = environment_.own_value(name);
    if (!expanded) {
      fail(value->place, "env." + name, expanded.error().message);
    } else if (expanded->per_slot) {
      uses_slot_ = true;
    }
  }
  spec_.environment = environment_.build();
}

void PoolResolver::pass_variables(const Node& pass) {
  for (const std::string& name : texts_of(pass)) {
    if (!is_variable_name(name) || is_reserved_variable(name)) {
      fail(pass.place, "env_pass",
           "\"" + escape_for_terminal(name.substr(0, 64)) + "\" cannot be passed on; " +
               (is_reserved_variable(name) ? "mtd sets it itself"
                                           : "names are made of letters, digits and _"));
    } else if (const auto found = options_.start.find(name); found != options_.start.end()) {
      environment_.passed.insert(*found);
    }
  }
}

void PoolResolver::own_variables(const Node& own) {
  for (const Node& member : own.as<Object>()->members) {
    if (is_ignored_key(member.name)) continue;
    const std::string shown = "\"" + escape_for_terminal(member.name.substr(0, 64)) + "\"";
    if (!is_variable_name(member.name)) {
      fail(member.name_place, "env",
           shown + " is no name of a variable; names are made of letters, digits and _");
    } else if (is_reserved_variable(member.name)) {
      fail(member.name_place, "env", shown + " is set by mtd itself; leave it out");
    } else {
      environment_.own.emplace(member.name, &member);
    }
  }
}

void PoolResolver::read_files(const Node& files) {
  for (const std::string& written : texts_of(files)) {
    const auto path = environment_.expand(written);
    if (!path) return fail("env_file", path.error().message);
    const std::string shown = "\"" + escape_for_terminal(path->text) + "\"";
    if (path->text.front() != '/' || has_markers(path->text)) {
      return fail("env_file",
                  "must be an absolute path that is the same for all workers, not " + shown);
    }
    if (std::find(files_.begin(), files_.end(), path->text) == files_.end())
      files_.push_back(path->text);
    const auto content = read_file(path->text, options_.check_ownership);
    if (!content) return fail("env_file", shown + " " + content.error().message);
    auto variables = parse_env_file(*content);
    if (!variables) return fail("env_file", shown + " " + variables.error().message);
    for (auto& [name, value] : *variables)
      environment_.from_file.insert_or_assign(name, std::move(value));
  }
}

void PoolResolver::directory() {
  if (node("cwd") == nullptr) return;
  spec_.directory = path_of("cwd");
  if (spec_.directory.empty() || has_markers(spec_.directory)) return;
  struct stat info {};
  if (::stat(spec_.directory.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    problems_.warn(place_of("cwd"), "pools." + pool_.name + ".cwd: there is no directory \"" +
                                        escape_for_terminal(spec_.directory) + "\" yet");
  }
}

}  // namespace mtd::config
