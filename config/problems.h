// Problems: collects everything wrong in a load, in the order found, with a limit.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/loader.h"
#include "config/node.h"

namespace mtd::config {

class Problems {
 public:
  static constexpr std::size_t kMax = 256;

  // The index to put into Place::file.
  [[nodiscard]] std::uint32_t add_file(std::string path);
  [[nodiscard]] const std::vector<std::string>& files() const { return files_; }

  void error(Place place, std::string message);
  void warn(Place place, std::string_view message);
  [[nodiscard]] std::string where(Place place) const;  // file:line:column

  [[nodiscard]] bool any() const { return !errors_.empty(); }
  [[nodiscard]] std::size_t count() const { return errors_.size(); }
  [[nodiscard]] std::vector<Problem> take_errors();  // sorted by file, line, column
  [[nodiscard]] std::vector<std::string> take_warnings() { return std::move(warnings_); }

 private:
  std::vector<std::string> files_;
  std::vector<std::pair<Place, std::string>> errors_;
  std::vector<std::string> warnings_;
  std::size_t left_out_ = 0;
};

}  // namespace mtd::config
