// mtd-supervisor --self-test: can this program take over? Descriptor 3 is the configuration in
// force, 4 the state, as the running supervisor holds them; without them only the program itself is
// tried.
#pragma once

namespace mtd::supervisor {

// Prints "mtd-supervisor VERSION protocol N", or what is wrong. The exit code.
[[nodiscard]] int self_test();

}  // namespace mtd::supervisor
