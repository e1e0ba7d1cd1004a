// The deliberate fault of this run: its number in MTD_SEEDED_FAULT, as a position in the
// enumeration.
#pragma once

namespace mtd::test {

// 1 or more; ends the program if the environment names none.
[[nodiscard]] int seeded_number();

}  // namespace mtd::test
