#include "config/problems.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "common/escape.h"

namespace mtd::config {

std::string Problem::text() const {
  std::string text = escape_for_terminal(file);
  if (line != 0) text += ":" + std::to_string(line) + ":" + std::to_string(column);
  return text.empty() ? message : text + ": " + message;
}

std::uint32_t Problems::add_file(std::string path) {
  files_.push_back(std::move(path));
  return static_cast<std::uint32_t>(files_.size() - 1);
}

void Problems::error(Place place, std::string message) {
  if (errors_.size() >= kMax) {
    ++left_out_;
    return;
  }
  errors_.emplace_back(place, std::move(message));
}

void Problems::warn(Place place, std::string_view message) {
  if (warnings_.size() < kMax) warnings_.push_back(where(place) + ": " + std::string(message));
}

std::string Problems::where(Place place) const {
  std::string text = escape_for_terminal(files_.at(place.file));
  if (place.line != 0)
    text += ":" + std::to_string(place.line) + ":" + std::to_string(place.column);
  return text;
}

std::vector<Problem> Problems::take_errors() {
  std::stable_sort(errors_.begin(), errors_.end(), [](const auto& a, const auto& b) {
    return std::tie(a.first.file, a.first.line, a.first.column) <
           std::tie(b.first.file, b.first.line, b.first.column);
  });
  std::vector<Problem> problems;
  for (auto& [place, message] : errors_) {
    problems.push_back({files_.at(place.file), place.line, place.column, std::move(message)});
  }
  if (left_out_ != 0) {
    problems.push_back({"", 0, 0, "and " + std::to_string(left_out_) + " more errors"});
  }
  errors_.clear();
  return problems;
}

}  // namespace mtd::config
