// A table of text on a terminal or in a pipe: columns are as wide as their widest cell, columns
// that matter least go first when a line is too narrow, and the last one, free text, is cut with
// "…".
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/display_width.h"
#include "ctl/screen.h"

namespace mtd::ctl {

struct Column {
  std::string title;
  Align align = Align::left;
  std::size_t min_width = 0;
  int keep = 0;           // 0: always kept; else the lowest number goes first when it gets narrow
  bool flexible = false;  // free text: cut to what is left of the line
};

struct Cell {
  std::string text;  // already safe for a terminal
  Colour colour = Colour::plain;
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add_row(std::vector<Cell> cells) { rows_.push_back(std::move(cells)); }
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  // Lines with a newline each, no blanks at their ends.
  [[nodiscard]] std::string render(const Screen& screen) const;

 private:
  [[nodiscard]] std::vector<std::size_t> natural_widths() const;  // of the columns
  [[nodiscard]] std::vector<std::size_t> choose_columns(const std::vector<std::size_t>& widths,
                                                        std::size_t limit) const;
  [[nodiscard]] std::string render_line(const std::vector<Cell>& cells,
                                        const std::vector<std::size_t>& chosen,
                                        const std::vector<std::size_t>& widths,
                                        const Screen& screen) const;

  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace mtd::ctl
