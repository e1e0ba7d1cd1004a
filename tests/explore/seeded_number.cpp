#include "tests/explore/seeded_number.h"

#include <cstdio>
#include <cstdlib>

namespace mtd::test {

int seeded_number() {
  const char* text = std::getenv("MTD_SEEDED_FAULT");
  const int number = text == nullptr ? 0 : std::atoi(text);
  if (number > 0) return number;
  std::fputs("MTD_SEEDED_FAULT: the number of a fault in seeded_fault.h\n", stderr);
  std::exit(2);
}

}  // namespace mtd::test
