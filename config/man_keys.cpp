// Prints the lists of keys of mtd.json(5), in mdoc(7), from the key table. Used by the build only.
#include <cstdio>
#include <string>

#include "config/tools.h"

int main() {
  const std::string text = mtd::config::manual_of_keys();
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0
             ? 0
             : 1;
}
