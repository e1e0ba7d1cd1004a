#include "daemon/supervisor/model/slot.h"

#include <algorithm>

namespace mtd::model {

Process* Slot::find(std::uint64_t with_incarnation) {
  for (Process& process : processes) {
    if (process.incarnation == with_incarnation) return &process;
  }
  return nullptr;
}

const Process* Slot::current() const {
  for (auto it = processes.rbegin(); it != processes.rend(); ++it) {
    if (is_current(*it)) return &*it;
  }
  return nullptr;
}

Process* Slot::current() {
  return const_cast<Process*>(static_cast<const Slot*>(this)->current());
}

const Process* Slot::draining() const {
  for (const Process& process : processes) {
    if (is<Draining>(process)) return &process;
  }
  return nullptr;
}

void Slot::erase(std::uint64_t with_incarnation) {
  const auto it = std::find_if(processes.begin(), processes.end(), [&](const Process& process) {
    return process.incarnation == with_incarnation;
  });
  if (it != processes.end()) processes.erase(it);
}

void Slot::remember(const ExitRecord& record) {
  if (exits.size() == kMaxExitRecords) exits.pop_back();
  exits.insert(exits.begin(), record);
  ++exits_told;
}

}  // namespace mtd::model
