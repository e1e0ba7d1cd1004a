// A table's image as a keeper of table version 1 wrote it: these bytes were recorded from that
// version, of the sample in keeper_table_test.cpp as it was then. What is not given is zero.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "tests/support/recorded_bytes.h"

namespace mtd::test {

inline std::string table_of_version_1() {
  constexpr std::size_t kBytes = 5536;
  static constexpr std::array kPieces{
      RecordedPiece{
          0,
          "6d74647461626c650100000005000000a01500000000000041ca9f0464cf0235010000000809000001"
          "0000000000000024420000ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
          "ffffffffffff370000000000000000000000400000000100000000000100010001"},
      RecordedPiece{144, "2a00000000000000030000000000000009"},
      RecordedPiece{216, "ffffffffffffff7fffffffffffffff7fffffffffffffff7fffffffffffffff7f"},
      RecordedPiece{730, "020000000000000000000000000006"},
      RecordedPiece{762, "020000000000000000000000000003"},
      RecordedPiece{1114, "020000000000000000000000000004"},
      RecordedPiece{1210, "020000000000000000000000000001"},
      RecordedPiece{1242, "02"},
      RecordedPiece{1274, "02"},
      RecordedPiece{1306, "02"},
      RecordedPiece{1338, "02"},
      RecordedPiece{1370, "02"},
      RecordedPiece{1402, "02"},
      RecordedPiece{1434, "02"},
      RecordedPiece{1466, "02"},
      RecordedPiece{1498, "02"},
      RecordedPiece{1530, "02"},
      RecordedPiece{1562, "02"},
      RecordedPiece{1594, "02"},
      RecordedPiece{1626, "02"},
      RecordedPiece{1658, "02"},
      RecordedPiece{1690, "02"},
      RecordedPiece{1720, "2f72756e2f6e6f74696679"},
      RecordedPiece{1848, "2f7573722f62696e2f6d7464"},
      RecordedPiece{
          2360,
          "0200000028010000090000000000000042000200200100000000000000000000010000000000000064"
          "0000000000000001000000000000000000000000000000010000000000000000000000e803"},
      RecordedPiece{2520, "0f0000000000000000000000000000006c6162656c2030"},
      RecordedPiece{
          2670,
          "0100420002002001000000000000000000000100000001000000650000000000000002000000000000"
          "00000000000000000003"},
      RecordedPiece{2737, "01"},
      RecordedPiece{2816, "0f0000000000000000000000000000006c6162656c2031"},
      RecordedPiece{
          2966,
          "0100420002002001000000000000000000000100000002000000660000000000000003000000000000"
          "000000000000000000010000000000000000000000ea0300000002"},
      RecordedPiece{3112, "0f0000000000000000000000000000006c6162656c2032"},
      RecordedPiece{3262, "010042000200200100000000000000000000010000000300000067"},
      RecordedPiece{3312, "03"},
      RecordedPiece{3329, "03"},
      RecordedPiece{3408, "0f0000000000000000000000000000006c6162656c2033"},
      RecordedPiece{3560, "42000200200100000000000000000000010000000500000069"},
      RecordedPiece{3608, "03"},
      RecordedPiece{3625, "05"},
      RecordedPiece{3704, "0f0000000000000000000000000000006c6162656c2035"},
      RecordedPiece{3856, "4200020020010000000000000000000001000000060000006a"},
      RecordedPiece{3904, "010000000000000000000000ee0300000006"},
      RecordedPiece{4000, "0f0000000000000000000000000000006c6162656c2036"},
      RecordedPiece{4152, "4200020020010000000000000000000001000000070000006b"},
      RecordedPiece{4200, "03"},
      RecordedPiece{4217, "07"},
      RecordedPiece{4296, "0f0000000000000000000000000000006c6162656c2037"},
      RecordedPiece{4448, "4200020020010000000000000000000001000000080000006c"},
      RecordedPiece{4496, "030000000000000000000000f00300000008"},
      RecordedPiece{4592, "0f0000000000000000000000000000006c6162656c2038"},
      RecordedPiece{4744, "4200020020010000000000000000000001000000090000006d"},
      RecordedPiece{4792, "03"},
      RecordedPiece{4809, "09"},
      RecordedPiece{4888, "0f0000000000000000000000000000006c6162656c2039"},
      RecordedPiece{5040, "030000002801000001000000000000004d"},
      RecordedPiece{5080, "4a"},
      RecordedPiece{
          5344,
          "0200000000000000040000000100000050000000000000004d5453314a000000000000000000000000"
          "000000010000000000000012"},
      RecordedPiece{
          5424,
          "2f62696e2f74727565002f000074727565000000000000000500000048000000010000000000000063"
          "6f6e74726f6c"},
      RecordedPiece{5528, "0c"},
  };
  return recorded_bytes(kBytes, kPieces);
}

}  // namespace mtd::test
