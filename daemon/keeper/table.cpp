#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <new>

#include "daemon/keeper/keeper.h"

namespace mtd::keeper {
namespace {

constexpr std::uint32_t kHeldBuckets = 4096;

std::uint32_t hash_key(const Key& key) {
  std::uint64_t h = (std::uint64_t{key.pool} << 32 | key.slot) * 0x9E3779B97F4A7C15ULL;
  h = (h ^ key.incarnation) * 0xC2B2AE3D27D4EB4FULL;
  return static_cast<std::uint32_t>(h >> 32);
}

std::uint32_t hash_pid(int pid) {
  return static_cast<std::uint32_t>(pid) * 0x9E3779B1U >> 7;
}

std::uint32_t hash_name(const char* name) {
  std::uint32_t h = 0x811C9DC5U;
  for (std::uint32_t i = 0; i < kHoldNameBytes && name[i] != '\0'; ++i)
    h = (h ^ static_cast<unsigned char>(name[i])) * 0x01000193U;
  return (h ^ h >> 15) % kHeldBuckets;
}

// Takes `index` out of the chain that starts at `*head` and runs through `next`.
void unchain(Process* processes, std::uint32_t* head, std::uint32_t index,
             std::uint32_t Process::*next) {
  while (*head != kNone && *head != index)
    head = &(processes[*head].*next);
  if (*head == index) *head = processes[index].*next;
}

template <class T>
T* carve(char*& at, std::uint64_t count) {
  T* array = reinterpret_cast<T*>(at);
  at += (count * sizeof(T) + 4095) / 4096 * 4096;
  return array;
}

}  // namespace

bool Table::map(std::uint32_t wanted) {
  capacity = wanted < kMaxProcesses ? wanted : kMaxProcesses;
  std::uint32_t buckets = 64;
  while (buckets < capacity * 2)
    buckets *= 2;
  hash_mask = buckets - 1;
  const std::uint64_t bytes = std::uint64_t{capacity} * sizeof(Process) +
                              std::uint64_t{buckets} * 2 * sizeof(std::uint32_t) +
                              kMaxRevisions * sizeof(RevisionRecord) +
                              kMaxHeld * sizeof(HeldRecord) + kHeldBuckets * sizeof(std::uint32_t) +
                              std::uint64_t{kMaxRevisions} * kMaxSpecBytes + kTextBytes + 9 * 4096;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  void* own = mmap(nullptr, kScratchBytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || own == MAP_FAILED) return false;
  char* at = static_cast<char*>(memory);
  processes = carve<Process>(at, capacity);
  by_key = carve<std::uint32_t>(at, buckets);
  by_pid = carve<std::uint32_t>(at, buckets);
  revisions = carve<RevisionRecord>(at, kMaxRevisions);
  held = carve<HeldRecord>(at, kMaxHeld);
  by_name = carve<std::uint32_t>(at, kHeldBuckets);
  role_note = new (carve<ChildNote>(at, 1)) ChildNote();
  texts = carve<char>(at, kTextBytes);
  specs = at;
  scratch = static_cast<char*>(own);
  std::memset(by_key, 0xff, buckets * sizeof(std::uint32_t));
  std::memset(by_pid, 0xff, buckets * sizeof(std::uint32_t));
  std::memset(by_name, 0xff, kHeldBuckets * sizeof(std::uint32_t));
  return true;
}

std::uint32_t Table::add(const Key& key) {
  std::uint32_t index = free_head;
  if (index != kNone) {
    free_head = processes[index].next_by_key;
  } else {
    if (high_water == capacity) return kNone;
    index = high_water++;
  }
  Process* record = new (&processes[index]) Process();
  record->used = true;
  record->message.key = key;
  record->message.header.type = Type::entry;
  record->message.header.size = sizeof(Entry);
  std::uint32_t& head = by_key[hash_key(key) & hash_mask];
  record->next_by_key = head;
  head = index;
  ++used;
  return index;
}

void Table::remove(std::uint32_t index) {
  Process& record = processes[index];
  if (record.dirty) {
    std::uint32_t before = kNone;
    for (std::uint32_t i = dirty_head; i != index; i = processes[i].next_dirty)
      before = i;
    (before == kNone ? dirty_head : processes[before].next_dirty) = record.next_dirty;
    if (dirty_tail == index) dirty_tail = before;
  }
  unchain(processes, &by_key[hash_key(record.message.key) & hash_mask], index,
          &Process::next_by_key);
  record.used = false;
  record.dirty = false;
  record.next_by_key = free_head;
  free_head = index;
  --used;
}

std::uint32_t Table::find(const Key& key) const {
  std::uint32_t index = by_key[hash_key(key) & hash_mask];
  while (index != kNone && !(processes[index].message.key == key))
    index = processes[index].next_by_key;
  return index;
}

std::uint32_t Table::find_pid(int pid) const {
  std::uint32_t index = by_pid[hash_pid(pid) & hash_mask];
  while (index != kNone && processes[index].message.pid != pid)
    index = processes[index].next_by_pid;
  return index;
}

void Table::set_pid(std::uint32_t index, int pid) {
  processes[index].message.pid = pid;
  std::uint32_t& head = by_pid[hash_pid(pid) & hash_mask];
  processes[index].next_by_pid = head;
  head = index;
  ++unreaped;
}

void Table::unset_pid(std::uint32_t index) {
  unchain(processes, &by_pid[hash_pid(processes[index].message.pid) & hash_mask], index,
          &Process::next_by_pid);
  --unreaped;
}

void Table::changed(std::uint32_t index) {
  processes[index].message.change = ++change;
  touch(index);
}

void Table::touch(std::uint32_t index) {
  Process& record = processes[index];
  if (record.dirty) return;
  record.dirty = true;
  record.next_dirty = kNone;
  (dirty_head == kNone ? dirty_head : processes[dirty_tail].next_dirty) = index;
  dirty_tail = index;
}

std::uint32_t Table::take_dirty() {
  const std::uint32_t index = dirty_head;
  if (index == kNone) return kNone;
  dirty_head = processes[index].next_dirty;
  if (dirty_head == kNone) dirty_tail = kNone;
  processes[index].dirty = false;
  return index;
}

void Table::link_starting(std::uint32_t index) {
  processes[index].next_starting = starting_head;
  processes[index].previous_starting = kNone;
  if (starting_head != kNone) processes[starting_head].previous_starting = index;
  starting_head = index;
}

void Table::unlink_starting(std::uint32_t index) {
  Process& record = processes[index];
  if (record.setup_deadline_ns == kNever) return;
  record.setup_deadline_ns = kNever;
  const std::uint32_t before = record.previous_starting, after = record.next_starting;
  (before == kNone ? starting_head : processes[before].next_starting) = after;
  if (after != kNone) processes[after].previous_starting = before;
}

RevisionRecord* Table::revision(std::uint64_t id) {
  for (std::uint32_t i = 0; i < kMaxRevisions; ++i) {
    if (revisions[i].size != 0 && revisions[i].id == id) return &revisions[i];
  }
  return nullptr;
}

char* Table::spec_of(const RevisionRecord& record) const {
  return specs + static_cast<std::uint64_t>(&record - revisions) * kMaxSpecBytes;
}

void Table::clear(RevisionRecord& record) {
  for (std::uint32_t i = 0; i < record.descriptors; ++i)
    close(record.fds[i]);
  if (record.size != 0) madvise(spec_of(record), kMaxSpecBytes, MADV_REMOVE);
  record.size = 0;
  record.descriptors = record.own = 0;
}

HeldRecord* Table::find_held(const char* name) {
  for (std::uint32_t i = by_name[hash_name(name)]; i != kNone; i = held[i].next) {
    if (std::strncmp(held[i].name, name, kHoldNameBytes) == 0) return &held[i];
  }
  return nullptr;
}

HeldRecord* Table::add_held(const char* name) {
  std::uint32_t index = held_free;
  if (index != kNone) {
    held_free = held[index].next;
  } else {
    if (held_high_water == kMaxHeld) return nullptr;
    index = held_high_water++;
  }
  HeldRecord* record = new (&held[index]) HeldRecord();
  for (std::uint32_t i = 0; i + 1 < kHoldNameBytes && name[i] != '\0'; ++i)
    record->name[i] = name[i];
  std::uint32_t& head = by_name[hash_name(name)];
  record->next = head;
  head = index;
  ++held_used;
  return record;
}

void Table::remove_held(HeldRecord& record) {
  const auto index = static_cast<std::uint32_t>(&record - held);
  std::uint32_t* at = &by_name[hash_name(record.name)];
  while (*at != index)
    at = &held[*at].next;
  *at = record.next;
  record = HeldRecord();
  record.next = held_free;
  held_free = index;
  --held_used;
}

}  // namespace mtd::keeper
