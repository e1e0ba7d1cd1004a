#include "ctl/table.h"

#include <algorithm>

namespace mtd::ctl {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kUsefulText = 24;  // columns that free text should keep before others go

}  // namespace

std::vector<std::size_t> Table::natural_widths() const {
  std::vector<std::size_t> widths;
  for (const Column& column : columns_)
    widths.push_back(std::max(column.min_width, display_width(column.title)));
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < widths.size(); ++i)
      widths[i] = std::max(widths[i], display_width(row[i].text));
  }
  return widths;
}

// Which columns fit into `limit`; 0: all.
std::vector<std::size_t> Table::choose_columns(const std::vector<std::size_t>& widths,
                                               std::size_t limit) const {
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < columns_.size(); ++i)
    chosen.push_back(i);
  if (limit == 0) return chosen;
  const auto needed = [&] {
    std::size_t width = 0;
    for (const std::size_t i : chosen) {
      width += kGap + (columns_[i].flexible ? std::min(widths[i], kUsefulText) : widths[i]);
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
                               const std::vector<std::size_t>& chosen,
                               const std::vector<std::size_t>& widths, const Screen& screen) const {
  std::string line;
  std::size_t used = 0;
  for (const std::size_t i : chosen) {
    const bool last = i == chosen.back();
    const std::size_t gap = i == chosen.front() ? 0 : kGap;
    std::size_t width = widths[i];
    std::string text = cells[i].text;
    if (screen.width != 0 && (columns_[i].flexible || last)) {
      width = screen.width > used + gap ? std::min(width, screen.width - used - gap) : 0;
      text = cut_to_width(text, width, screen.ellipsis());
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
  const std::vector<std::size_t> widths = natural_widths();
  const std::vector<std::size_t> chosen = choose_columns(widths, screen.width);
  std::vector<Cell> titles;
  for (const Column& column : columns_)
    titles.push_back({column.title, Colour::bold});
  std::string result = render_line(titles, chosen, widths, screen);
  for (const auto& row : rows_)
    result += render_line(row, chosen, widths, screen);
  return result;
}

}  // namespace mtd::ctl
