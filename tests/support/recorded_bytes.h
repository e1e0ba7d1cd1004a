// Bytes that an older version wrote, as they stand in a test: pieces in hexadecimal, zero between
// them.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace mtd::test {

struct RecordedPiece {
  std::size_t at;
  std::string_view hex;
};

inline std::string recorded_bytes(std::size_t size, std::span<const RecordedPiece> pieces) {
  std::string bytes(size, '\0');
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  for (const RecordedPiece& piece : pieces) {
    for (std::size_t i = 0; i < piece.hex.size(); i += 2) {
      bytes[piece.at + i / 2] =
          static_cast<char>(digit(piece.hex[i]) * 16 + digit(piece.hex[i + 1]));
    }
  }
  return bytes;
}

}  // namespace mtd::test
