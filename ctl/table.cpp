#include "ctl/table.h"

#include <algorithm>

namespace mtd::ctl {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kUsefulText = 24;  // columns that free text should keep before others go

}  // namespace

std::size_t Table::natural_width(std::size_t column) const {
  std::size_t width = std::max(columns_[column].min_width, display_width(columns_[column].title));
  for (const auto& row : rows_)
    width = std::max(width, display_width(row[column].text));
  return width;
}

// Which columns fit into `limit`; 0: all.
std::vector<std::size_t> Table::choose_columns(std::size_t limit) const {
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < columns_.size(); ++i)
    chosen.push_back(i);
  if (limit == 0) return chosen;
  const auto needed = [&] {
    std::size_t width = 0;
    for (const std::size_t i : chosen) {
      const std::size_t natural = natural_width(i);
      width += kGap + (columns_[i].flexible ? std::min(natural, kUsefulText) : natural);
    }
    return width - kGap;
  };
  while (needed() > limit) {
    auto weakest = chosen.end();
    for (auto i = chosen.begin(); i != chosen.end(); ++i) {
      const int keep = columns_[*i].keep;
      if (keep != 0 && (weakest == chosen.end() || keep < columns_[*weakest].keep)) weakest = i;
    }
    if (weakest == chosen.end()) break;
    chosen.erase(weakest);
  }
  return chosen;
}

std::string Table::render_line(const std::vector<Cell>& cells,
                               const std::vector<std::size_t>& chosen, const Screen& screen) const {
  std::string line;
  std::size_t used = 0;
  for (const std::size_t i : chosen) {
    const bool last = i == chosen.back();
    const std::size_t gap = i == chosen.front() ? 0 : kGap;
    std::size_t width = natural_width(i);
    std::string text = cells[i].text;
    if (screen.width != 0 && (columns_[i].flexible || last)) {
      width = screen.width > used + gap ? std::min(width, screen.width - used - gap) : 0;
      text = cut_to_width(text, width);
    }
    const std::size_t blanks = width - std::min(width, display_width(text));
    const bool right = columns_[i].align == Align::right;
    line += std::string(gap + (right ? blanks : 0), ' ') + screen.paint(text, cells[i].colour);
    if (!right && !last) line += std::string(blanks, ' ');
    used += gap + width;
  }
  const std::size_t end = line.find_last_not_of(' ');
  return (end == std::string::npos ? std::string() : line.substr(0, end + 1)) + "\n";
}

std::string Table::render(const Screen& screen) const {
  const std::vector<std::size_t> chosen = choose_columns(screen.width);
  std::vector<Cell> titles;
  for (const Column& column : columns_)
    titles.push_back({column.title, Colour::bold});
  std::string result = render_line(titles, chosen, screen);
  for (const auto& row : rows_)
    result += render_line(row, chosen, screen);
  return result;
}

}  // namespace mtd::ctl
