// Resolves one pool, step by step; see resolve.h. Later steps use what earlier ones have found,
// such as the environment that strings are expanded with. Each group of keys has a source file of
// its own.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "config/environment.h"
#include "config/identity.h"
#include "config/listen.h"
#include "config/pool_spec.h"
#include "config/probe_target.h"
#include "config/problems.h"
#include "config/read_keys.h"
#include "config/resolve.h"

namespace mtd::config {

class PoolResolver {
 public:
  // All of them outlive it.
  PoolResolver(const Node& pool, const ResolveOptions& options, Problems& problems,
               std::vector<std::string>& files);
  // Once.
  PoolSpec run();

 private:
  [[nodiscard]] const Node* node(std::string_view path) const;
  [[nodiscard]] Place place_of(std::string_view path) const;
  [[nodiscard]] std::optional<std::string> text(std::string_view path) const;
  void fail(Place place, std::string_view path, const std::string& message);
  void fail(std::string_view path, const std::string& message);
  // Expands a path; empty after an error.
  std::string path_of(std::string_view key);
  std::string path_of(std::string_view key, const std::string& written);
  static Place argument_place(const Node& written, std::size_t i);

  void log();
  void recycle();
  void stop();
  void reload();
  void scaling();
  void tasks();
  void overlap();

  // resolve_surroundings.cpp
  void identity();
  void environment();
  void pass_variables(const Node& pass);
  void own_variables(const Node& own);
  void read_files(const Node& files);
  void directory();

  // resolve_commands.cpp
  struct Command {
    std::vector<std::string> arguments;  // with markers
    std::string executable;
    bool per_slot = false;
  };
  void command();
  Command command_of(std::string_view key, const Node& written);
  std::string executable(std::string_view key, Place place, const std::string& program);
  void commands_beside();
  void command_beside(const std::string& key, CommandSpec& one);
  void probes();
  void probe(const std::string& prefix, ProbeSpec& probe);
  std::string target(const std::string& key, Result<ProbeTarget> (*parse)(std::string_view text));

  // resolve_limits.cpp
  void limits();
  void sandbox();

  // resolve_listen.cpp
  void listen();
  static ListenNames names();
  [[nodiscard]] ListenSpec with_defaults(ListenSpec socket) const;

  const Node& pool_;
  const ResolveOptions& options_;
  Problems& problems_;
  std::vector<std::string>& files_;
  Environment environment_;
  PoolSpec spec_;
  Given given_;
  Identity who_;
  bool uses_slot_ = false;  // do command, env or cwd differ from worker to worker
};

}  // namespace mtd::config
