// Prints the schema for config_schema.py.
#include <cstdio>

#include "config/tools.h"

int main() {
  return std::fputs(mtd::config::schema().c_str(), stdout) < 0 ? 1 : 0;
}
