// Markers stand in a string for what is known only when a process is spawned: its slot, its
// incarnation and its pid. The configuration and the supervisor write them, the spawned child
// replaces them.
#pragma once

namespace mtd {

struct SpecMarker {
  static constexpr char kEscape = '\x01';    // begins every marker; one more byte follows
  static constexpr char kSlot = 's';         // decimal slot
  static constexpr char kIncarnation = 'i';  // decimal incarnation
  static constexpr char kPid = 'p';          // decimal process id
  static constexpr char kLiteral = 'l';      // one 0x01 byte of the user's own
};

}  // namespace mtd
